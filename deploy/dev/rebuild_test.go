package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// Every bucket is thrown away and rebuilt, twice, while 200 agents are connected
// and a Deployment changes without pause: no device loses or restarts a
// container, the log withdraws nothing, and who watches a bucket ends with what
// is in it.
func TestARebuildUnderLoadTakesNothingOffTheDevices(t *testing.T) {
	t.Parallel()
	const devices = 200
	o := Options{DataDir: t.TempDir(), Devices: devices, Engine: EngineMemory, PulseInterval: 2 * time.Second}
	err := Run(t.Context(), o, func(ctx context.Context, f *Fleet) error {
		c, err := newCrowd(t, f)
		if err != nil {
			return err
		}
		if err := c.apply(ctx, "steady", map[string]string{"site": "lab"}, 0); err != nil {
			return err
		}
		if err := c.succeeded(ctx, "steady", devices); err != nil {
			return err
		}
		before := c.containers(ctx, "steady")
		if len(before) != devices {
			return fmt.Errorf("%d containers run, want %d", len(before), devices)
		}
		watched := map[string]func() map[string]string{}
		for _, b := range []string{eventlog.BucketDesired, eventlog.BucketState, eventlog.BucketInfo} {
			if watched[b], err = c.watch(ctx, b); err != nil {
				return err
			}
		}

		loadCtx, stop := context.WithCancel(ctx)
		load := make(chan error, 1)
		go func() { load <- c.load(loadCtx) }()
		for range 2 {
			if out, code := c.fleetctl(ctx, "rebuild", "--all", "--yes"); code != cli.ExitOK {
				t.Errorf("fleetctl rebuild --all: exit %d: %s", code, out)
			}
		}
		stop()
		if err := <-load; err != nil {
			return err
		}
		if err := c.succeeded(ctx, "busy", devices/2); err != nil {
			return err
		}
		if diff := cmp.Diff(before, c.containers(ctx, "steady")); diff != "" {
			t.Errorf("containers changed (-before +after):\n%s", diff)
		}
		for b, got := range watched {
			if err := c.same(ctx, b, got); err != nil {
				t.Error(err)
			}
		}
		return c.withdrewNothing(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// crowd is a person, and the machine behind the devices.
type crowd struct {
	t     *testing.T
	fleet *Fleet
	kube  *versioned.Clientset
	js    jetstream.JetStream
}

func newCrowd(t *testing.T, f *Fleet) (*crowd, error) {
	kube, err := versioned.NewForConfig(f.RestConfig)
	if err != nil {
		return nil, err
	}
	nc, err := f.Env.Connect()
	if err != nil {
		return nil, err
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &crowd{t: t, fleet: f, kube: kube, js: js}, nil
}

func (c *crowd) apply(ctx context.Context, name string, on map[string]string, n int) error {
	d := v1alpha1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchLabels: on},
			Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{
				Name: "main", Image: "example.org/app:1", Env: map[string]v1alpha1.EnvValue{"N": v1alpha1.EnvValue(fmt.Sprint(n))},
			}}}},
			Rollout: v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
		},
	}
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = c.kube.FleetV1alpha1().Deployments(namespace).Patch(ctx, name, types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: "kubectl"})
	return err
}

// load changes one Deployment without pause until the context ends. A change that
// a busy API server did not take in time is made by the next one; only that none
// is taken is a failure.
func (c *crowd) load(ctx context.Context) error {
	const most = 50 // in a row
	for n, failures := 1, 0; ; n++ {
		err := c.apply(ctx, "busy", map[string]string{"zone": "a"}, n)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to end
		}
		if err == nil {
			failures = 0
		} else if failures++; failures == most {
			return fmt.Errorf("change busy: %w", err)
		}
		select {
		case <-time.After(200 * time.Millisecond): // the pace of the load
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *crowd) succeeded(ctx context.Context, name string, devices int32) error {
	err := until(ctx, 5*time.Minute, func(ctx context.Context) (bool, string, error) {
		d, err := c.kube.FleetV1alpha1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		a := d.Status.Aggregate
		if a == nil || d.Status.ObservedGeneration != d.Generation || a.Succeeded != devices {
			return false, fmt.Sprintf("generation %d, observed %d, %+v", d.Generation, d.Status.ObservedGeneration, a), nil
		}
		return true, "", nil
	})
	if err != nil {
		return fmt.Errorf("%s on %d devices: %w", name, devices, err)
	}
	return nil
}

// containers gives when each container of a Deployment was started, by its id.
func (c *crowd) containers(ctx context.Context, deployment string) map[string]time.Time {
	all := map[string]time.Time{}
	for _, e := range c.fleet.engines {
		list, err := e.Observe(ctx)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, k := range list {
			if k.Deployment == deployment {
				all[k.ID] = k.StartedAt
			}
		}
	}
	return all
}

// watch follows a bucket as any KV client does.
func (c *crowd) watch(ctx context.Context, bucket string) (func() map[string]string, error) {
	kv, err := c.js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, err
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	values := map[string]string{}
	go func() {
		for e := range w.Updates() {
			mu.Lock()
			switch {
			case e == nil: // all that there was has been seen
			case e.Operation() == jetstream.KeyValuePut:
				values[e.Key()] = string(e.Value())
			default:
				delete(values, e.Key())
			}
			mu.Unlock()
		}
	}()
	return func() map[string]string {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(values)
	}, nil
}

// same compares what a watcher has seen with what is in the bucket.
func (c *crowd) same(ctx context.Context, bucket string, watched func() map[string]string) error {
	return until(ctx, 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		kv, err := c.js.KeyValue(ctx, bucket)
		if err != nil {
			return false, "", err
		}
		keys, err := kv.Keys(ctx)
		if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
			return false, "", err
		}
		held := map[string]string{}
		for _, k := range keys {
			e, err := kv.Get(ctx, k)
			if err != nil {
				return false, "", fmt.Errorf("bucket %s, key %s: %w", bucket, k, err)
			}
			held[k] = string(e.Value())
		}
		diff := cmp.Diff(held, watched())
		return diff == "", "bucket " + bucket + " (-held +watched):\n" + diff, nil
	})
}

func (c *crowd) withdrewNothing(ctx context.Context) error {
	for e, err := range reader.Read(ctx, c.js, reader.Options{}) {
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Sequence, err)
		}
		if e.Type == eventlog.DesiredWithdrawn || e.Type == eventlog.StateCleared {
			return fmt.Errorf("event %d: %s on %s", e.Sequence, e.Type, e.Subject)
		}
	}
	return nil
}

func (c *crowd) fleetctl(ctx context.Context, args ...string) (string, int) {
	env := map[string]string{"FLEET_NATS_URL": c.fleet.Env.NATSURL, "FLEET_NATS_USER": c.fleet.Env.User, "FLEET_NATS_PASSWORD": c.fleet.Env.Password}
	var out bytes.Buffer
	code := fleetctl.Run(ctx, cli.Streams{
		Out: &out, Err: &out, Name: "fleetctl", Now: time.Now, Getenv: func(k string) string { return env[k] },
	}, args)
	return out.String(), code
}
