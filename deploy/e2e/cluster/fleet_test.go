//go:build e2ecluster

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/images"
)

// Ports of the node by which devices come in, as the chart has them.
const (
	natsPort      = 30422
	webSocketPort = 30443
)

// fleet is a fleet's server side as pods of the node.
type fleet struct {
	t    *testing.T
	node *clustertest.Node
	kube *versioned.Clientset
	// namespace is the fleet's own, so that it meets nothing that was there before.
	namespace string
	users     accounts.Users // of a fleet that was rendered
	admin     accounts.Login
	servers   string // host and port at which persons reach the servers
	ca        string // the file of the authority of the servers' certificates
}

// version is the tag of the images.
const version = "test"

// importImages puts the images into the node's store: those of the operator and the
// callout as a release has them, and one of NATS laid out as the official one.
func (f *fleet) importImages() {
	f.t.Helper()
	f.node.Import(f.t, clustertest.Program{Image: natsImage, File: built.Program(f.t, "nats-server"), Path: "/nats-server", User: "65532"})
	builder, err := images.NewBuilder(images.Release{Version: version})
	f.must(err)
	var set images.Set
	var platform v1.Platform
	for _, program := range images.Programs() {
		if program.Name != names.Operator && program.Name != names.Callout {
			continue
		}
		file := built.Program(f.t, program.Name)
		platform, _, err = images.Inspect(file)
		f.must(err)
		image, _, err := builder.Build(program, []string{file})
		f.must(err)
		set = append(set, image)
	}
	archive, err := os.Create(filepath.Join(f.t.TempDir(), "images.tar"))
	f.must(err)
	f.must(errors.Join(set.WriteArchive(archive, platform, images.LocalRepository), archive.Close()))
	f.node.ImportArchive(f.t, archive.Name())
}

// settled waits until each workload has all of its replicas, of its newest form, and their
// pods are Ready: a pod that has just gone is counted by its workload for a while.
func (f *fleet) settled() {
	f.t.Helper()
	eventually(f.t, "all pods are Ready", func(ctx context.Context) error {
		deployments, err := f.node.Client.AppsV1().Deployments(f.namespace).List(ctx, metav1.ListOptions{})
		sets, err2 := f.node.Client.AppsV1().StatefulSets(f.namespace).List(ctx, metav1.ListOptions{})
		pods, err3 := f.node.Client.CoreV1().Pods(f.namespace).List(ctx, metav1.ListOptions{})
		if err := errors.Join(err, err2, err3); err != nil {
			return err
		}
		var errs []error
		want := 0
		for _, d := range deployments.Items {
			want += int(*d.Spec.Replicas)
			if s := d.Status; s.ObservedGeneration != d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.Replicas != *d.Spec.Replicas || s.ReadyReplicas != *d.Spec.Replicas {
				errs = append(errs, fmt.Errorf("%s wants %d: %+v", d.Name, *d.Spec.Replicas, s))
			}
		}
		for _, s := range sets.Items {
			want += int(*s.Spec.Replicas)
			errs = append(errs, unsettled(s))
		}
		ready := 0
		for _, p := range pods.Items {
			if p.DeletionTimestamp == nil && isReady(&p) {
				ready++
			}
		}
		if ready != want {
			errs = append(errs, fmt.Errorf("%d pods are Ready, want %d", ready, want))
		}
		return errors.Join(errs...)
	})
}

func unsettled(s appsv1.StatefulSet) error {
	if t := s.Status; t.ObservedGeneration != s.Generation || t.UpdatedReplicas != *s.Spec.Replicas || t.Replicas != *s.Spec.Replicas || t.ReadyReplicas != *s.Spec.Replicas {
		return fmt.Errorf("%s wants %d: %+v", s.Name, *s.Spec.Replicas, t)
	}
	return nil
}

// pods lists the pods that are not on their way out, by name.
func (f *fleet) pods() []corev1.Pod {
	f.t.Helper()
	all, err := f.node.Client.CoreV1().Pods(f.namespace).List(f.t.Context(), metav1.ListOptions{})
	f.must(err)
	return slices.DeleteFunc(all.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// replace deletes a pod and waits until another one is Ready in its place. Grace is how
// long it may take to end, in seconds; less than 0 is what the pod says itself.
func (f *fleet) replace(pod corev1.Pod, grace int64) {
	f.t.Helper()
	options := metav1.DeleteOptions{}
	if grace >= 0 {
		options.GracePeriodSeconds = &grace
	}
	f.must(f.node.Client.CoreV1().Pods(f.namespace).Delete(f.t.Context(), pod.Name, options))
	eventually(f.t, pod.Name+" is gone", func(ctx context.Context) error {
		now, err := f.node.Client.CoreV1().Pods(f.namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && now.UID != pod.UID:
			return nil
		case err == nil:
			err = errors.New("it is still there")
		}
		return err
	})
	f.settled()
}

func (f *fleet) deploy(name, tag string) {
	f.t.Helper()
	// An API server that has just begun does not serve the fleet's kinds yet.
	eventually(f.t, name+" is applied", func(ctx context.Context) error { return sampletest.Apply(ctx, f.kube, name, tag) })
}

func (f *fleet) ready(name string, devices int) {
	f.t.Helper()
	eventually(f.t, name+" is ready", func(ctx context.Context) error { return sampletest.Ready(ctx, f.kube, name, devices) })
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// kubectl runs a command line that must not fail.
func (f *fleet) kubectl(args ...string) {
	f.t.Helper()
	_, err := f.node.Kubectl(f.t.Context(), nil, args...)
	f.must(err)
}
