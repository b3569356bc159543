package explain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// canary is in the first batch of a rollout as storytest.Batched plans it; kasse is in
// the second.
const canary = "kasse-0"

// inBatches is the story of two devices that run revision 1, and of revision 2, which
// was given to the canary. Events 1 to 16.
func inBatches(w *storytest.Story) {
	w.Device(canary, map[string]string{"site": "lab", "zone": "a"})
	w.Device(kasse, map[string]string{"site": "lab", "zone": "b"})
	w.Online(canary)
	w.Online(kasse)
	one := w.Apply(storytest.Till, 1, storytest.Podman("nginx:1"))
	w.Rollout(storytest.Till, eventlog.RolloutStarted, 1, 2)
	for _, d := range []string{canary, kasse} {
		w.Assign(d, storytest.Till, 1, one)
		w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
	}
	w.Apply(storytest.Till, 2, storytest.Podman("nginx:2"), storytest.Batched)
	started := w.Start(storytest.Till, 2, 2)
	w.Give(canary, storytest.Till, 2, 1, started)
}

// of is an event of the run of revision 2.
func of(r eventlog.Rollout) eventlog.Rollout {
	r.Kind, r.Revision = eventlog.RunUpdate, 2
	return r
}

// opened is the story until the second batch is open.
func opened(w *storytest.Story) {
	inBatches(w)
	w.Report(canary, storytest.Till, eventlog.PhaseRunning, "", 2)
	w.Wait(5 * time.Minute)
	w.Run(storytest.Till, eventlog.RolloutBatchSucceeded, of(eventlog.Rollout{Batch: 1}))
	asked := w.Ask("alice", storytest.Till, eventlog.Request{Verb: eventlog.RequestPromote, Revision: 2, Batch: 1})
	w.Run(storytest.Till, eventlog.RolloutPromoted, of(eventlog.Rollout{Batch: 1, Request: asked}), storytest.By("alice"))
	w.Run(storytest.Till, eventlog.RolloutBatchStarted, of(eventlog.Rollout{Batch: 2}))
}

func budget(w *storytest.Story, most int) {
	w.Say(eventlog.BudgetSubject("floor"), eventlog.BudgetApplied, eventlog.Budget{
		Selector: storytest.Lab(), MaxUnavailable: &eventlog.Amount{N: most}, GroupBy: []string{"site"},
	})
}

// settings applies revision 2 once more, with more in spec.rollout.
func settings(w *storytest.Story, more string) {
	w.Apply(storytest.Till, 2, storytest.Podman("nginx:2"), func(d *eventlog.Deployment) {
		storytest.Batched(d)
		d.Rollout = []byte(strings.Replace(string(d.Rollout), `{`, `{`+more, 1))
	})
}

// A device that runs what was before because its batch is not open is no fault: it runs
// as it should, and what comes next says what it waits for.
func TestWhatADeviceWaitsForInARollout(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tell  func(*storytest.Story)
		kind  rollout.WaitKind
		state explain.State
		next  string
	}{
		"devices of the open batch are at work": {
			inBatches,
			rollout.WaitBatch, explain.StateRunning, "kasse-1 is in batch 2 of 2; 1 device of batch 1 is at work on revision 2",
		},
		"the open batch soaks": {
			func(w *storytest.Story) {
				inBatches(w)
				w.Report(canary, storytest.Till, eventlog.PhaseRunning, "", 2)
				w.Wait(time.Minute)
				w.Online(kasse)
			},
			rollout.WaitSoak, explain.StateRunning, "kasse-1 is in batch 2 of 2; 1 device of batch 1 has to run revision 2 well for 3m59s more",
		},
		"a person has to let it go on": {
			func(w *storytest.Story) {
				inBatches(w)
				w.Run(storytest.Till, eventlog.RolloutBatchSucceeded, of(eventlog.Rollout{Batch: 1}))
			},
			rollout.WaitApproval, explain.StateRunning, "batch 1 succeeded, and a person has to let the rollout go on: fleetctl rollout promote till -n shop",
		},
		"a person holds it": {
			func(w *storytest.Story) {
				inBatches(w)
				asked := w.Ask("alice", storytest.Till, eventlog.Request{Verb: eventlog.RequestPause})
				w.Run(storytest.Till, eventlog.RolloutPaused, of(eventlog.Rollout{Request: asked, Message: "lunch"}), storytest.By("alice"))
			},
			rollout.WaitHold, explain.StateRunning, "alice holds shop/till: “lunch”",
		},
		"the spec pauses it": {
			func(w *storytest.Story) {
				opened(w)
				w.Apply(storytest.Till, 2, storytest.Podman("nginx:2"), func(d *eventlog.Deployment) {
					storytest.Batched(d)
					d.Rollout = []byte(strings.Replace(string(d.Rollout), `{`, `{"paused":true,`, 1))
				})
			},
			rollout.WaitSpecPaused, explain.StateRunning, "spec.rollout.paused of shop/till is true",
		},
		"its first batch failed": {
			func(w *storytest.Story) {
				inBatches(w)
				w.Run(storytest.Till, eventlog.RolloutBatchFailed, of(eventlog.Rollout{Batch: 1}))
				w.Run(storytest.Till, eventlog.RolloutPaused, of(eventlog.Rollout{Batch: 1, Reason: "BatchFailed", Message: "batch 1 failed: 1 devices are bad"}))
			},
			rollout.WaitPaused, explain.StateRunning, "the rollout of revision 2 is paused (BatchFailed): batch 1 failed",
		},
		"as many as may be are unavailable": {
			func(w *storytest.Story) {
				opened(w)
				w.Report(canary, storytest.Till, eventlog.PhasePending, "Starting", 2)
			},
			rollout.WaitMaxUnavailable, explain.StateRunning, "1 of 2 devices are unavailable through this rollout, and spec.rollout.maxUnavailable allows 1",
		},
		"a DisruptionBudget is used up": {
			func(w *storytest.Story) {
				budget(w, 1)
				w.Device("kasse-9", map[string]string{"site": "lab", "zone": "c"})
				w.Offline("kasse-9")
				opened(w)
			},
			rollout.WaitBudget, explain.StateRunning, "DisruptionBudget floor allows 1 device of group site=lab to be down, and 1 is: kasse-9",
		},
		"the device is offline": {
			func(w *storytest.Story) {
				opened(w)
				w.Offline(kasse)
			},
			rollout.WaitOffline, explain.StateRunning, "kasse-1 is offline, and is given revision 2 when it is back",
		},
		"what it depends on is not there": {
			func(w *storytest.Story) {
				inBatches(w)
				w.Apply(storytest.Key("shop", "db"), 1, storytest.Podman("db:1"), func(d *eventlog.Deployment) { d.Selector.MatchLabels["site"] = "field" })
				w.Apply(storytest.Till, 2, storytest.Podman("nginx:2"), func(d *eventlog.Deployment) {
					storytest.Batched(d)
					d.Rollout = []byte(strings.Replace(string(d.Rollout), `{`, `{"dependsOn":["db"],`, 1))
				})
			},
			rollout.WaitDependency, explain.StateRunning, "it depends on shop/db, which is not assigned to kasse-1",
		},
		"no window is open": {
			func(w *storytest.Story) {
				opened(w)
				settings(w, `"windows":[{"schedule":"30 3 1 1 *","duration":"1h"}],`)
			},
			rollout.WaitWindow, explain.StateRunning, "kasse-1 is given revision 2 when the next window of spec.rollout.windows opens, at ",
		},
		"no window is open for the next batch": {
			func(w *storytest.Story) {
				inBatches(w)
				settings(w, `"windows":[{"schedule":"30 3 1 1 *","duration":"1h"}],`)
				w.Report(canary, storytest.Till, eventlog.PhaseRunning, "", 2)
				asked := w.Ask("alice", storytest.Till, eventlog.Request{Verb: eventlog.RequestPromote, Revision: 2, Batch: 1})
				w.Run(storytest.Till, eventlog.RolloutPromoted, of(eventlog.Rollout{Batch: 1, Request: asked}), storytest.By("alice"))
			},
			rollout.WaitWindow, explain.StateRunning, "batch 1 is through, and batch 2 begins when the next window of spec.rollout.windows opens",
		},
		"the rate lets nothing be given": {
			func(w *storytest.Story) {
				inBatches(w)
				w.Report(canary, storytest.Till, eventlog.PhaseRunning, "", 2)
				settings(w, `"rate":{"devices":1,"per":"24h"},`)
				w.Device("kasse-9", map[string]string{"site": "lab", "zone": "c"})
				w.Online("kasse-9")
				w.Give("kasse-9", storytest.Till, 2, 1, 1)
				w.Report("kasse-9", storytest.Till, eventlog.PhaseRunning, "", 2)
				w.Run(storytest.Till, eventlog.RolloutBatchStarted, of(eventlog.Rollout{Batch: 2}))
			},
			rollout.WaitRate, explain.StateRunning, "kasse-1 waits for spec.rollout.rate, which is 1 device in 24h0m0s now; the next device is given it at ",
		},
		"a gate of the open batch does not hold": {
			func(w *storytest.Story) {
				inBatches(w)
				w.Apply(storytest.Till, 2, storytest.Podman("nginx:2"), func(d *eventlog.Deployment) {
					d.Rollout = []byte(`{"batches":[{"size":1,"gates":[{"name":"errors","prometheus":{"server":"main","query":"errors","max":"0.05"}}]},{}]}`)
				})
				w.Report(canary, storytest.Till, eventlog.PhaseRunning, "", 2)
				w.Wait(6 * time.Minute)
				w.Online(kasse)
			},
			rollout.WaitGate, explain.StateRunning, "the devices of batch 1 are through, and gate errors has yet to be answered by Prometheus server main",
		},
		"the operator gives it next": {
			opened,
			rollout.WaitOperator, explain.StateRunning, "the operator assigns revision 2",
		},
		"it was given, and the device has not answered": {
			func(w *storytest.Story) {
				opened(w)
				w.Give(kasse, storytest.Till, 2, 2, 1)
			},
			rollout.WaitReport, explain.StateUnanswered, "has not reported that it runs; it counts as failed after 10m0s more",
		},
		"it runs the new one, and soaks": {
			func(w *storytest.Story) {
				opened(w)
				w.Give(kasse, storytest.Till, 2, 2, 1)
				w.Report(kasse, storytest.Till, eventlog.PhaseRunning, "", 2)
			},
			rollout.WaitSoak, explain.StateRunning, "kasse-1 runs revision 2 and has to run it well for 1m0s more",
		},
		"it was rolled back": {
			func(w *storytest.Story) {
				inBatches(w)
				w.Run(storytest.Till, eventlog.RolloutStarted, eventlog.Rollout{
					Kind: eventlog.RunRollback, Revision: 1, From: 2, Devices: 2, Online: 2, Reason: "BatchFailed",
					Score: storytest.Podman("nginx:1"), ScoreHash: eventlog.Hash(storytest.Podman("nginx:1")),
				})
				w.Run(storytest.Till, eventlog.RolloutRolledBack, eventlog.Rollout{Kind: eventlog.RunRollback, Revision: 1})
			},
			rollout.WaitRefused, explain.StateRunning, "the rollout of revision 2 was rolled back, and its content is not tried again before a person retries it",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := storytest.New(t)
			tt.tell(w)
			for _, o := range []timeline.Options{{}, {AsHappened: true}} {
				e := w.Explain(kasse, storytest.Till, o)
				if e.State != tt.state || e.Waits == nil || e.Waits.Kind != tt.kind {
					t.Errorf("%+v: %s, %q, waits for %+v; want %s, waiting for %s", o, e.State, e.Summary.Text, e.Waits, tt.state, tt.kind)
				}
				if !strings.Contains(strings.Join(sentences(e.Next), "\n"), tt.next) {
					t.Errorf("%+v: what comes next is %q; want something with %q", o, sentences(e.Next), tt.next)
				}
				proves(t, w, e)
			}
		})
	}
}

// At each moment of the past the answer is what was so then.
func TestAnExplanationOfThePastSaysWhatTheDeviceWaitedForThen(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	opened(w)
	w.Give(kasse, storytest.Till, 2, 2, 1)
	w.Report(kasse, storytest.Till, eventlog.PhaseRunning, "", 2)
	w.Run(storytest.Till, eventlog.RolloutCompleted, of(eventlog.Rollout{}))
	var got []string
	events := w.Events
	for n := 15; n <= len(events); n++ {
		w.Events = events[:n]
		e := w.Explain(kasse, storytest.Till)
		kind := ""
		if e.Waits != nil {
			kind = string(e.Waits.Kind)
		}
		if len(got) == 0 || got[len(got)-1] != kind {
			got = append(got, kind)
		}
	}
	want := []string{"Operator", "Batch", "Soak", "Approval", "Batch", "Operator", "Report", "Soak", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("it waited for (-want +got):\n%s", diff)
	}
}
