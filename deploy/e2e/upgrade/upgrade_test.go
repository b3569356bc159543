//go:build e2e

package upgrade_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/e2e/previous"
	"fleet.nationtech.io/eventlog"
)

// fleet is the parts of a fleet that are replaced, under load.
type fleet struct {
	*world
	load      *load
	end       func() // takes the load off
	devices   []*device
	operators [2]*process
	callouts  [2]*process
	steady    map[string]container // containers that nobody changes
	changed   int                  // of the Deployment moving
	began     time.Time
}

// startFleet starts a fleet of the previous release.
func startFleet(t *testing.T, tree previous.Tree) *fleet {
	t.Helper()
	f := &fleet{world: newWorld(t, tree), began: time.Now()}
	for i := range f.operators {
		f.operators[i] = f.operator(f.old, fmt.Sprintf("operator-%d-a", i))
	}
	for i := range f.callouts {
		f.callouts[i] = f.callout(f.old, fmt.Sprintf("callout-%d-a", i))
	}
	f.load = f.simulate()
	for _, id := range []string{"edge-01", "edge-02"} {
		d := f.enrol(id)
		d.run(f.world, f.old)
		f.devices = append(f.devices, d)
	}
	f.must(f.apply(t.Context(), "steady", `{"site":"lab"}`, hello("for ever"), immediately))
	f.ready("steady", int32(len(f.devices)))
	if f.steady = f.containers("steady"); len(f.steady) != len(f.devices) {
		t.Fatalf("%d containers run on %d devices", len(f.steady), len(f.devices))
	}
	f.end = f.load.begin()
	f.works("the fleet of " + f.old.version)
	return f
}

func hello(greeting string) string {
	return fmt.Sprintf(`{"name":"web","image":"localhost/fleet-hello:1","ports":["8080"],"env":{"GREETING":%q}}`, greeting)
}

// works shows that the fleet still does what it is there for: what changes reaches the
// devices, what does not change is not touched, and both releases read the log.
func (f *fleet) works(after string) {
	f.t.Helper()
	f.changed++
	f.must(f.apply(f.t.Context(), "moving", `{"site":"lab"}`, hello(fmt.Sprint("change ", f.changed)), immediately))
	f.ready("moving", int32(len(f.devices)))
	if diff := cmp.Diff(f.steady, f.containers("steady")); diff != "" {
		f.t.Errorf("after %s devices run other containers (-before +after):\n%s", after, diff)
	}
	for _, d := range f.devices {
		f.eventually(d.id+" answers", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err := f.nc.RequestWithContext(ctx, eventlog.DeviceCommandSubject(d.id, eventlog.VerbPing), nil)
			return err
		})
	}
	f.bothRead()
	f.t.Logf("%5.1f s: all works after %s; versions that led: %v", time.Since(f.began).Seconds(), after, f.terms())
}

// takeServers gives the NATS servers the accounts of a release, one server after the
// other. The load is off meanwhile: simulated devices do not ask for what they missed.
func (f *fleet) takeServers(of release) {
	f.t.Helper()
	f.end()
	f.reconfigure(of)
	f.end = f.load.begin()
}

// takeOperators replaces the operators one by one, each while a rollout is under way: the
// next replica is ready before the one that it replaces ends, as in a rolling update.
func (f *fleet) takeOperators(of release, suffix string) {
	f.t.Helper()
	for i := range f.operators {
		next := f.operator(of, fmt.Sprintf("operator-%d-%s", i, suffix))
		f.underWay()
		f.operators[i].stop()
		f.operators[i] = next
	}
	f.eventually("an operator of "+of.version+" leads", func(context.Context) error {
		if versions := f.terms(); versions[len(versions)-1] != of.version {
			return fmt.Errorf("terms: %v", versions)
		}
		return nil
	})
}

// takeCallouts replaces the auth callouts one by one, and waits until the new ones have let
// agents in, whose tokens end all the time.
func (f *fleet) takeCallouts(of release, suffix string) {
	f.t.Helper()
	for i := range f.callouts {
		next := f.callout(of, fmt.Sprintf("callout-%d-%s", i, suffix))
		f.callouts[i].stop()
		f.callouts[i] = next
	}
	f.eventually("agents come in by the callouts of "+of.version, func(ctx context.Context) error {
		if f.callouts[0].granted(ctx) == nil {
			return nil
		}
		return f.callouts[1].granted(ctx)
	})
}

func (f *fleet) takeAgents(of release) {
	f.t.Helper()
	for _, d := range f.devices {
		f.underWay()
		d.run(f.world, of)
	}
}

// takeServerSide takes all but the agents, in the order of docs/operations.md.
func (f *fleet) takeServerSide() {
	f.t.Helper()
	f.definitions()
	f.works("the definitions")
	f.takeServers(f.new)
	f.works("the NATS servers")
	f.takeOperators(f.new, "b")
	f.works("the operators")
	f.takeCallouts(f.new, "b")
	f.works("the callouts")
}

func (f *fleet) finish() {
	f.t.Helper()
	f.end()
	f.works("the end")
	f.check(f.load)
}

// A fleet of the previous release becomes one of this release, the server side first or
// the agents first, and the server side and the agents become the previous release again.
// All the while Deployments change, rollouts are under way and devices get other labels.
// No container that nobody changed is restarted, each event is in the log once, none is
// missing, no device is given a revision twice, the log obeys the laws of rollouts, and
// the fleetctl of each release reads what the other one writes.
func TestAFleetOfThePreviousReleaseIsUpgradedUnderLoad(t *testing.T) {
	began := time.Now()
	tree := previous.Build(t)
	t.Logf("%s was built in %.1f s", tree.Version, time.Since(began).Seconds())

	t.Run("the server side first, and back", func(t *testing.T) {
		t.Parallel()
		f := startFleet(t, tree)
		f.takeServerSide()
		f.takeAgents(f.new)
		f.works("the agents")
		// Back: definitions and NATS servers stay as they are, as after fleetctl install of
		// the former version over an upgrade that stopped.
		f.takeOperators(f.old, "c")
		f.works("the operators of before")
		f.takeCallouts(f.old, "c")
		f.takeAgents(f.old)
		f.works("the agents of before")
		f.finish()
	})
	t.Run("the agents first", func(t *testing.T) {
		t.Parallel()
		f := startFleet(t, tree)
		f.takeAgents(f.new)
		f.works("the agents")
		f.takeServerSide()
		f.finish()
	})
}
