package fleet_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// drawStory makes a log of anything that writers may do, in any order.
func drawStory(t *rapid.T, tb testing.TB) *story {
	s := &story{t: tb}
	devices := []string{"a", "b", "c"}
	names := []string{"web", "db"}
	spaces := []string{"shop", "lab"}
	images := []string{"app:1", "app:2"}
	counters := map[string]int{}
	steps := rapid.IntRange(1, 60).Draw(t, "steps")
	for i := range steps {
		pick := func(what string, of []string) string { return rapid.SampledFrom(of).Draw(t, fmt.Sprint(what, i)) }
		dev, name, ns, image := pick("device", devices), pick("name", names), pick("namespace", spaces), pick("image", images)
		switch rapid.IntRange(0, 17).Draw(t, fmt.Sprint("kind", i)) {
		case 0:
			s.apply(ns, name, image, uint64(i+1))
		case 1, 2:
			s.assign(dev, ns, name, image, uint64(i+1))
		case 3:
			s.withdraw(dev, ns, name)
		case 4, 5:
			// A store of a device numbers its reports; one is sent twice, or never comes;
			// and a clone, or a store that was lost, numbers on its own.
			store := dev + rapid.SampledFrom([]string{"", "", "", "-clone", "-lost", "-new", "-last"}).Draw(t, fmt.Sprint("store", i))
			counters[store] = max(1, counters[store]+rapid.SampledFrom([]int{1, 1, 1, 0, -1, 3}).Draw(t, fmt.Sprint("number", i)))
			phase := rapid.SampledFrom([]eventlog.Phase{eventlog.PhasePending, eventlog.PhaseRunning, eventlog.PhaseFailed}).Draw(t, fmt.Sprint("phase", i))
			s.report(dev, name, phase, eventlog.Hash(score(image)), fmt.Sprintf("%s.%d", store, counters[store]))
		case 6:
			s.presence(dev, rapid.SampledFrom([]eventlog.Type{eventlog.DeviceOnline, eventlog.DeviceOffline}).Draw(t, fmt.Sprint("presence", i)))
		case 7:
			s.draft(eventlog.DeploymentSubject(ns, name), eventlog.DeploymentDeleted, eventlog.DeploymentEnd{Reason: "CRDeleted"})
		case 8:
			s.report(dev, name, "Nonsense", "", "")
		case 9:
			s.info(dev, map[string]string{"site": image})
		case 10:
			s.relabel(dev, map[string]eventlog.OwnedLabel{"site": {Value: image, Owner: name}})
		case 11:
			s.add(&nats.Msg{Subject: eventlog.StateSubject(dev, name), Header: nats.Header{eventlog.HeaderKVOperation: {"DEL"}}})
		case 12:
			s.draft(eventlog.DeviceSubject(dev), rapid.SampledFrom([]eventlog.Type{eventlog.DeviceRegistered, eventlog.DeviceDecommissioned}).Draw(t, fmt.Sprint("life", i)), eventlog.Removal{})
		case 13:
			s.draft(eventlog.AccessSubject(dev), rapid.SampledFrom([]eventlog.Type{eventlog.AccessRevoked, eventlog.AccessAllowed}).Draw(t, fmt.Sprint("access", i)), eventlog.Access{Reason: "Flooding"})
		case 14:
			s.draft(eventlog.DeploymentSubject(ns, name), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{Reason: "CRMissing"})
			s.draft(eventlog.RequestSubject("ada", ns, name), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestWithdraw})
		case 15:
			s.draft(eventlog.DeploymentSubject(ns, name), eventlog.RolloutStarted, eventlog.Rollout{Revision: uint64(i), Strategy: "AllAtOnce"})
			s.draft(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: name})
		case 17:
			if rapid.Bool().Draw(t, fmt.Sprint("applied", i)) {
				s.draft(eventlog.BudgetSubject(name), eventlog.BudgetApplied, eventlog.Budget{Generation: int64(i), MaxUnavailable: &eventlog.Amount{N: i, Percent: i%2 == 0}, GroupBy: []string{ns}})
				continue
			}
			reason := rapid.SampledFrom([]string{eventlog.ReasonBudgetDeleted, eventlog.ReasonBudgetMissing}).Draw(t, fmt.Sprint("gone", i))
			s.draft(eventlog.BudgetSubject(name), eventlog.BudgetDeleted, eventlog.BudgetEnd{Reason: reason})
		case 16:
			s.draft(eventlog.DeviceRequestSubject("ada", dev), eventlog.RequestMade, eventlog.Request{Verb: rapid.SampledFrom([]string{eventlog.RequestDecommission, eventlog.RequestRevoke, eventlog.RequestAllow, "dance"}).Draw(t, fmt.Sprint("verb", i)), Reason: name})
		}
	}
	return s
}

// recount counts a Deployment's devices the slow way, by the predicates alone.
func recount(d *fleet.Deployment) fleet.Counts {
	var c fleet.Counts
	for p := range d.Assigned {
		c.Matched++
		if p.Updated() {
			c.Updated++
		}
		offline := p.Device.Presence.Online == fleet.OnlineFalse
		switch {
		case p.Succeeded():
			c.Succeeded++
		case p.Failed():
			c.Failed++
			if !offline {
				c.FailedOnline++
			}
		default:
			c.Pending++
		}
		if offline && !p.Succeeded() {
			c.Offline++
		}
	}
	return c
}

func newestFailure(d *fleet.Deployment) uint64 {
	var newest uint64
	for p := range d.Assigned {
		if p.Failed() {
			newest = max(newest, p.Reported.Sequence)
		}
	}
	return newest
}

func TestIncrementalCountsEqualFullCounts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt, t)
		v := fleet.New()
		for _, e := range s.events {
			v = fleet.Apply(v, e.Event, e.err)
			for k, d := range v.Deployments {
				if want := recount(d); d.Counts != want {
					rt.Fatalf("at sequence %d, %s: counts %+v, made again %+v", v.Sequence, k, d.Counts, want)
				}
				var got uint64
				if p := d.LastFailed(); p != nil {
					got = p.Reported.Sequence
				}
				if want := newestFailure(d); got != want {
					rt.Fatalf("at sequence %d, %s: newest failure at %d, made again %d", v.Sequence, k, got, want)
				}
			}
		}
	})
}

func TestFoldingTwiceGivesTheSameView(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt, t)
		a, b := s.fold(fleet.New()), s.fold(fleet.New())
		if !reflect.DeepEqual(summary(a), summary(b)) {
			rt.Fatalf("two folds of one log differ:\n%v\n%v", summary(a), summary(b))
		}
	})
}

func TestAnEventFoldedTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt, t)
		once := s.fold(fleet.New())
		twice := fleet.New()
		for _, e := range s.events {
			twice = fleet.Apply(fleet.Apply(twice, e.Event, e.err), e.Event, e.err)
		}
		if !reflect.DeepEqual(summary(once), summary(twice)) {
			rt.Fatalf("a duplicate changed the view:\n%v\n%v", summary(once), summary(twice))
		}
	})
}

// summary is all of a view that can be seen, as plain values.
func summary(v *fleet.View) map[string]string {
	m := map[string]string{"view": fmt.Sprint(v.Sequence, v.Recorded, v.Leader, v.Foreign)}
	for k, d := range v.Deployments {
		m["deployment "+k.String()] = fmt.Sprint(d.Lifecycle, d.Spec, d.Applied, d.Changed, d.Counts, d.Rollout)
		if d.Withdraw != nil {
			m["withdraw "+k.String()] = fmt.Sprint(*d.Withdraw)
		}
		if p := d.LastFailed(); p != nil {
			m["error "+k.String()] = p.Device.ID
		}
	}
	for name, b := range v.Budgets {
		m["budget "+name] = fmt.Sprint(b.Budget, *b.MaxUnavailable, b.Applied, b.Missing)
	}
	for id, dev := range v.Devices {
		m["device "+id] = fmt.Sprint(dev.Registered, dev.Decommissioned, dev.InfoSequence, dev.Labels, dev.LabelsID, dev.Presence, dev.Identity.Repeats, dev.Identity.Gaps, dev.Identity.Alternated, dev.Traffic, dev.LastDesired, dev.RegisteredAt)
		if dev.Leaving != nil {
			m["leaving "+id] = fmt.Sprint(*dev.Leaving)
		}
		if dev.AccessRequest != nil {
			m["access request "+id] = fmt.Sprint(*dev.AccessRequest)
		}
		if len(dev.Late) > 0 {
			m["late "+id] = fmt.Sprintf("%q", dev.Late)
		}
		if dev.Info != nil {
			m["info "+id] = fmt.Sprint(*dev.Info)
		}
		if dev.Access != nil {
			m["access "+id] = fmt.Sprint(*dev.Access)
		}
		for p := range dev.Assignments {
			m["pair "+id+"."+p.Name] = fmt.Sprint(p.Namespace, p.Assigned(), p.Desired, p.Reported)
		}
	}
	return m
}
