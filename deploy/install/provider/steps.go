package provider

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/health"
)

// runAnnotation marks a Job with what it was run for: it is run again where that is
// another.
const runAnnotation = "fleet.nationtech.io/run"

// hooks runs what the chart wants to be done before its objects are there: the database
// is made ready, and the first instance is made.
func (r *run) hooks(ctx context.Context) error {
	if err := r.awaitKey(ctx); err != nil {
		return err
	}
	if err := r.runHooks(ctx, r.release.before); err != nil {
		return err
	}
	return r.keyThere(ctx)
}

func (r *run) runHooks(ctx context.Context, hooks []*unstructured.Unstructured) error {
	mark, err := r.digest()
	if err != nil {
		return err
	}
	for _, o := range hooks {
		if o.GetKind() == "Job" {
			err = r.job(ctx, o, mark)
		} else {
			err = r.put(ctx, strings.ToLower(o.GetKind()), o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// digest changes with anything that the chart renders.
func (r *run) digest() (string, error) {
	sum := sha256.New()
	for _, o := range r.all() {
		text, err := json.Marshal(o.Object)
		if err != nil {
			return "", fmt.Errorf("%s: %w", apply.Name(o), err)
		}
		_, _ = sum.Write(text) // a hash takes all
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// job runs a Job once for what the chart renders. One that was cut off is waited for.
func (r *run) job(ctx context.Context, o *unstructured.Unstructured, mark string) error {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[runAnnotation] = mark
	o.SetAnnotations(annotations)
	there, err := r.applier.Get(ctx, o)
	if err != nil {
		return err
	}
	if there != nil && (there.GetAnnotations()[runAnnotation] != mark || failed(there)) {
		if err := r.remove(ctx, there); err != nil {
			return err
		}
		there = nil
	}
	if there == nil {
		if _, err := r.applier.Apply(ctx, o); err != nil {
			return err
		}
		r.result.Changed++
	}
	if r.DryRun {
		return nil
	}
	return r.ready(ctx, o)
}

func failed(job *unstructured.Unstructured) bool {
	conditions, _, err := unstructured.NestedSlice(job.Object, "status", "conditions")
	if err != nil {
		return false
	}
	for _, c := range conditions {
		if c, is := c.(map[string]any); is && c["type"] == "Failed" && c["status"] == "True" {
			return true
		}
	}
	return false
}

const lookEvery = 500 * time.Millisecond

// remove deletes an object, and waits until it is gone.
func (r *run) remove(ctx context.Context, o *unstructured.Unstructured) error {
	if _, err := r.applier.Delete(ctx, o); err != nil || r.DryRun {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	for {
		there, err := r.applier.Get(ctx, o)
		if err != nil {
			return err
		}
		if there == nil || there.GetUID() != o.GetUID() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not gone: %w", apply.Name(o), ctx.Err())
		case <-time.After(lookEvery):
		}
	}
}

// objects applies all that is no hook.
func (r *run) objects(ctx context.Context) error {
	return r.put(ctx, "objects", r.release.objects...)
}

// wait waits until the provider's pods are ready, and runs the hooks after them.
func (r *run) wait(ctx context.Context) error {
	if r.DryRun {
		return nil
	}
	for _, o := range r.release.objects {
		if kind := o.GetKind(); kind == "Deployment" || kind == "StatefulSet" {
			if err := r.ready(ctx, o); err != nil {
				return err
			}
		}
	}
	if err := r.runHooks(ctx, r.release.after); err != nil {
		return err
	}
	r.record.Installed = true
	return r.remember(ctx)
}

func (r *run) ready(ctx context.Context, o *unstructured.Unstructured) error {
	w := health.Workload{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
	err := health.Wait(ctx, r.client, w, r.Timeout, func(state health.State) {
		said := state.Summary + "."
		for _, reason := range state.Reasons {
			said += " " + reason.Sentence
		}
		r.Tell(Progress{Step: w.Name, Sentence: said, Waiting: !state.Ready})
	})
	var unready *health.NotReady
	if errors.As(err, &unready) {
		return &FailedError{err, r.remedy(unready)}
	}
	return err
}

// refusals are what Zitadel's pods and the cluster say, and what to do about it.
var refusals = []struct{ said, remedy string }{
	{"password authentication failed", "Correct the user and the password in the database's Secret."},
	{"no such host", "Correct the host in the database's Secret: it must be known to the cluster's pods."},
	{"connection refused", "Make sure that the database runs, and that the cluster's pods reach its host and port."},
	{"i/o timeout", "Make sure that no firewall or NetworkPolicy is between the cluster's pods and the database."},
	{"does not exist", "Make the database and the user that the database's Secret names."},
	{"server refused TLS", "Turn TLS on at the database, or set sslmode=disable in its Secret where the network is your own."},
	{"certificate", "Put the authority of the database's certificate into its Secret under key ca.crt, with sslrootcert=" + caPath + " in the connection string."},
	{"permission denied", "Make the user the owner of the database: ALTER DATABASE … OWNER TO …."},
	{"message authentication failed", "The masterkey is not the one of this database: put Secret " + MasterkeySecret + " back from your copy."},
	{"cannot pull image", "Mirror the images that docs/zitadel.md lists, and name them by --set image.repository, --set login.image.repository, --set imageRegistry and --set tools.kubectl.image.tag."},
	{"DeadlineExceeded", "Raise --set initJob.activeDeadlineSeconds or setupJob.activeDeadlineSeconds where the database is slow."},
}

func (r *run) remedy(e *health.NotReady) string {
	for _, one := range refusals {
		if strings.Contains(e.Error(), one.said) {
			return one.remedy
		}
	}
	return e.Remedy()
}
