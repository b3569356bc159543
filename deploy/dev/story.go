package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/eventlog"
)

// story is the main job told from end to end: each step does one thing that a
// person would do, and checks on the real parts what came of it.
type story struct {
	fleet *Fleet
	kube  *versioned.Clientset
	js    jetstream.JetStream
	out   io.Writer
	began time.Time

	name    string // of the Deployment
	devices []string
}

// Tell runs the story on a fleet. It fails with the first step that does not hold, and
// says what it saw instead.
func Tell(ctx context.Context, f *Fleet, out io.Writer) error {
	kube, err := versioned.NewForConfig(f.RestConfig)
	if err != nil {
		return fmt.Errorf("story: %w", err)
	}
	nc, err := f.Env.Connect(nats.Name("fleet-dev demo"))
	if err != nil {
		return fmt.Errorf("story: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("story: %w", err)
	}
	s := &story{fleet: f, kube: kube, js: js, out: out, began: time.Now(), name: "hello", devices: ids(f.Devices)}
	for i, step := range s.steps() {
		fmt.Fprintf(out, "\n%2d. %s\n", i+1, step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, step.what, err)
		}
	}
	fmt.Fprintf(out, "\nDemo passed in %.1f s.\n", time.Since(s.began).Seconds())
	return nil
}

// step is one thing that a person would do.
type step struct {
	what string
	do   func(context.Context) error
}

func (s *story) steps() []step {
	steps := []step{
		{"kubectl apply -f crds/samples/hello.yaml", s.apply},
		{"the Deployment becomes Ready", s.ready(1)},
		{"its containers run on every matching device, and answer", s.containersAnswer("hello")},
		{"the four buckets hold what any NATS client would read", s.buckets},
		{"kubectl apply with another greeting: revision 2", s.change},
		{"the change becomes Ready", s.ready(2)},
		{"the new containers answer with the new greeting", s.containersAnswer("bonjour")},
		{"the agent brings a killed container back", s.kill},
		{"kubectl label --overwrite fleetdev/" + s.devices[0] + " site=other", s.moveAway},
		{"kubectl label fleetdev/" + s.devices[0] + " site-", s.moveBack},
		{"kubectl delete fleetdep hello", s.remove},
		{"no container, no key and no CR is left", s.nothingLeft},
		{"the event log still has all of it", s.log},
		{"fleetctl shows the deleted Deployment as it was", s.asItWas},
		{"the log, its seals and the buckets agree", s.agrees},
	}
	if s.fleet.Auth != AuthOIDC {
		return steps
	}
	const afterRepair = 8
	return slices.Insert(steps, afterRepair,
		step{"each device came in by an identity of its own", s.cameIn},
		step{"a stolen key of " + s.devices[0] + " reaches nothing of another device", s.stolenKey},
		step{"a device whose access is revoked is cut off at once, and comes back once it is allowed", s.revoke},
	)
}

func (s *story) tell(format string, args ...any) {
	fmt.Fprintf(s.out, "      "+format+"\n", args...)
}

// until polls a check, which says what it sees, until it holds.
func until(ctx context.Context, timeout time.Duration, check func(context.Context) (bool, string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	saw := "nothing"
	for {
		ok, now, err := check(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if ok {
			return nil
		}
		if now != "" {
			saw = now
		}
		t := time.NewTimer(50 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("not within %s; the last state was: %s", timeout, saw)
		}
	}
}

// states reads device-state as any KV client would: device to value.
func (s *story) states(ctx context.Context) (map[string]eventlog.DeploymentState, error) {
	kv, err := s.js.KeyValue(ctx, eventlog.BucketState)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", eventlog.BucketState, err)
	}
	got := map[string]eventlog.DeploymentState{}
	for _, d := range s.devices {
		e, err := kv.Get(ctx, eventlog.StateKey(d, s.name))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", eventlog.BucketState, err)
		}
		st, err := eventlog.Payload[eventlog.DeploymentState](eventlog.Event{Data: e.Value()})
		if err != nil {
			return nil, err
		}
		got[d] = st
	}
	return got, nil
}
