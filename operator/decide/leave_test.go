package decide_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// lives makes a device with two Deployments, one of which it reports.
func (w *world) lives(id string) {
	w.Helper()
	w.tell(eventlog.InfoSubject(id), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: id})
	w.settle(decide.OfDevice(id), w.label(id, "site", "lab"), w.put(cr("a", "web", "app:1", site)), w.put(cr("b", "db", "app:1", site)))
	w.report(id, "web", eventlog.PhaseRunning)
}

func (w *world) requestDecommission(id string) {
	w.tell(eventlog.DeviceRequestSubject("ada", id), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestDecommission, Reason: "sold"})
}

func (w *world) allow(id string) {
	w.tell(eventlog.AccessSubject(id), eventlog.AccessAllowed, eventlog.Access{})
}

// late is a report of a device that has left.
func (w *world) late(id, name string) {
	w.tell(eventlog.StateSubject(id, name), eventlog.StateReported, eventlog.DeploymentState{
		DeviceID: id, Deployment: name, Phase: eventlog.PhaseRunning, LastEventAt: now,
	})
}

func TestADeviceLeaves(t *testing.T) {
	t.Parallel()
	gone := []string{
		"desired.withdrawn desired.pi-01.db", "desired.withdrawn desired.pi-01.web",
		"state.cleared state.pi-01.web", "info.cleared info.pi-01", "device.decommissioned device.pi-01",
	}
	tests := map[string]struct {
		do   func(*world) []eventlog.Draft
		want []string
	}{
		"all that is on it is withdrawn and cleared before it is decommissioned": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				return w.settle(decide.OfDevice("pi-01"))
			},
			want: gone,
		},
		"the same where its Device is deleted and says so": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.SetLeaving("pi-01", true)
				return w.settle(decide.OfDevice("pi-01"))
			},
			want: gone,
		},
		"asked twice, it is said once": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				w.settle(decide.OfDevice("pi-01"))
				w.requestDecommission("pi-01")
				return w.settle(decide.OfDevice("pi-01"))
			},
		},
		"a person's request and the deletion of the Device at one time are one departure": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				w.SetLeaving("pi-01", true)
				return w.settle(decide.OfDevice("pi-01"))
			},
			want: gone,
		},
		"nothing is placed on a device that is to leave, whichever turn comes first": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				return w.settle(w.put(cr("a", "new", "app:1", site)), w.put(cr("a", "web", "app:2", site, generation(2))))
			},
			want: []string{
				"deployment.applied deployment.a.new", "rollout.started deployment.a.new",
				"deployment.applied deployment.a.web", "rollout.superseded deployment.a.web", "rollout.started deployment.a.web",
			},
		},
		"nothing is placed on a device that has left, though its Device is still there": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				w.settle(decide.OfDevice("pi-01"))
				return w.settle(w.put(cr("a", "new", "app:1", site)), w.label("pi-01", "site", "lab", "zone", "b"))
			},
			want: []string{"deployment.applied deployment.a.new", "rollout.started deployment.a.new"},
		},
		"what it reports afterwards is cleared, and does not register it": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				w.settle(decide.OfDevice("pi-01"))
				w.late("pi-01", "web")
				w.tell(eventlog.InfoSubject("pi-01"), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: "pi-01"})
				return w.settle(decide.OfDevice("pi-01"))
			},
			want: []string{"info.cleared info.pi-01", "state.cleared state.pi-01.web"},
		},
		"what a device that was cut off reports afterwards has the operator write nothing": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				w.settle(decide.OfDevice("pi-01"))
				w.tell(eventlog.AccessSubject("pi-01"), eventlog.AccessRevoked, eventlog.Access{Reason: fleet.ReasonFlooding})
				w.late("pi-01", "web")
				return w.settle(decide.OfDevice("pi-01"))
			},
		},
		"what was assigned to it by mistake is withdrawn": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				w.settle(decide.OfDevice("pi-01"))
				w.append(eventlog.Draft{
					Subject: eventlog.DesiredSubject("pi-01", "web"), Type: eventlog.DesiredAssigned, Time: now,
					Namespace: "a", Revision: 1, Data: w.View().Deployments[key("a/web")].Spec.Score,
				})
				return w.settle(decide.OfDevice("pi-01"))
			},
			want: []string{"desired.withdrawn desired.pi-01.web"},
		},
		"allowed again, its next info registers it, and its labels place on it": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				w.settle(decide.OfDevice("pi-01"))
				w.RemoveDevice("pi-01")
				w.allow("pi-01")
				if due := w.settle(decide.OfDevice("pi-01")); len(due) > 0 {
					w.Fatalf("before its info: %v", told(due))
				}
				w.tell(eventlog.InfoSubject("pi-01"), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: "pi-01"})
				return w.settle(decide.OfDevice("pi-01"), w.label("pi-01", "site", "lab"))
			},
			want: []string{
				"device.registered device.pi-01", "device.relabeled device.pi-01",
				"desired.assigned desired.pi-01.web", "desired.assigned desired.pi-01.db",
			},
		},
		"a device that never reported can be kept out": {
			do: func(w *world) []eventlog.Draft {
				w.requestDecommission("pi-09")
				return w.settle(decide.OfDevice("pi-09"))
			},
			want: []string{"device.decommissioned device.pi-09"},
		},
		"a rollout that waited for the device alone is over": {
			do: func(w *world) []eventlog.Draft {
				w.lives("pi-01")
				w.lives("pi-02")
				for _, name := range []string{"web", "db"} {
					w.report("pi-02", name, eventlog.PhaseRunning)
				}
				w.requestDecommission("pi-01")
				w.settle(decide.OfDevice("pi-01"))
				return w.settle(decide.OfProgress(key("a/web")), decide.OfProgress(key("b/db")))
			},
			want: []string{"rollout.completed deployment.a.web", "rollout.completed deployment.b.db"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			got := told(tt.do(w))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhoTookADeviceOutIsInEachEvent(t *testing.T) {
	t.Parallel()
	type signature struct{ reason, actor, cause string }
	tests := map[string]struct {
		do   func(*world)
		want signature
	}{
		"a person asked": {
			do:   func(w *world) { w.requestDecommission("pi-01") },
			want: signature{decide.ReasonRequested, "ada", "ID-11"},
		},
		"the Device was deleted, which says not by whom": {
			do:   func(w *world) { w.SetLeaving("pi-01", true) },
			want: signature{decide.ReasonDeviceDeleted, decide.ActorUnknown, ""},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.lives("pi-01")
			tt.do(w)
			for _, d := range w.settle(decide.OfDevice("pi-01")) {
				got := signature{tt.want.reason, d.Actor, d.CausationID}
				if d.Type == eventlog.DeviceDecommissioned {
					p, err := eventlog.Payload[eventlog.Removal](eventlog.Event{Type: d.Type, Version: 1, Data: d.Data})
					if err != nil {
						t.Fatal(err)
					}
					got.reason = p.Reason
				}
				if got != tt.want || !d.Time.Equal(now) {
					t.Errorf("%s: %+v at %v, want %+v", d.Type, got, d.Time, tt.want)
				}
			}
		})
	}
}

// Wherever the operator dies between its appends, and whatever the device reports
// meanwhile, the next operator ends at the same: nothing is assigned, nothing is
// left in a bucket, and it is said once that the device is decommissioned.
func TestADepartureThatWasCutShortIsFinished(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.lives("pi-01")
		w.requestDecommission("pi-01")
		for i := range rapid.IntRange(0, 6).Draw(rt, "deaths") {
			due, err := decide.Decide(w.State, decide.OfDevice("pi-01"), now)
			if err != nil {
				rt.Fatal(err)
			}
			w.append(due[:rapid.IntRange(0, len(due)).Draw(rt, fmt.Sprint("appended", i))]...)
			if rapid.Bool().Draw(rt, fmt.Sprint("reports", i)) {
				w.late("pi-01", rapid.SampledFrom([]string{"web", "db", "else"}).Draw(rt, fmt.Sprint("name", i)))
			}
			specs, next := w.State, decide.NewState(w.View()) // the next operator
			for k := range specs.Deployments {
				spec, _ := specs.Deployment(k)
				next.SetDeployment(spec)
			}
			w.State = next
			w.label("pi-01", "site", "lab")
		}
		w.settle(decide.OfDevice("pi-01"), decide.OfDeployment(key("a/web")), decide.OfDeployment(key("b/db")))
		said, kept := 0, map[string]bool{}
		for _, d := range w.log {
			if d.Type == eventlog.DeviceDecommissioned {
				said++
			}
			if a, err := eventlog.ParseSubject(d.Subject); err == nil && (a.Family.OfDevices() || a.Family == eventlog.FamilyDesired) {
				kept[d.Subject] = !d.Type.Removes()
			}
		}
		if said != 1 {
			rt.Errorf("decommissioned %d times", said)
		}
		for subject, is := range kept {
			if is {
				rt.Errorf("%s is still in a bucket", subject)
			}
		}
		if d := w.View().Devices["pi-01"]; !d.Decommissioned || len(d.Late) > 0 {
			rt.Errorf("decommissioned %v, late %q", d.Decommissioned, d.Late)
		}
	})
}
