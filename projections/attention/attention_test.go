package attention_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

var (
	till  = storytest.Till
	other = fleet.Key{Namespace: "zoo", Name: "till"}
)

// wrong is a story, and the one thing that needs a person at its end.
type wrong struct {
	tell   func(*storytest.Story)
	facts  attention.Facts
	after  time.Duration // how long after the last event it is looked at
	kind   attention.Kind
	weight attention.Severity
	item   string // [namespace/]name (devices): title
	reason string // part of it
	run    string // the command
}

// devices registers devices of the lab that are online.
func devices(w *storytest.Story, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("pi-%02d", i+1))
		w.Device(ids[i], map[string]string{"site": "lab"})
		w.Online(ids[i])
	}
	return ids
}

// out brings till to all devices, which run it.
func out(w *storytest.Story, ids ...string) {
	applied := w.Apply(till, 1, storytest.Podman("nginx:1"))
	started := w.Rollout(till, eventlog.RolloutStarted, 1, len(ids))
	for _, id := range ids {
		w.Assign(id, till, 1, applied)
		w.Report(id, till, eventlog.PhaseRunning, "", 1)
	}
	_ = started
	w.Rollout(till, eventlog.RolloutCompleted, 1, len(ids))
}

// batched begins the run of revision 1 in two batches.
func batched(w *storytest.Story, ids ...string) uint64 {
	w.Apply(till, 1, storytest.Podman("nginx:1"), storytest.Batched)
	w.Start(till, 1, len(ids))
	return uint64(len(w.Events))
}

func stories() map[string]wrong {
	info := func(w *storytest.Story, id string, ends time.Time) {
		b, err := json.Marshal(eventlog.DeviceInfo{DeviceID: id, Labels: map[string]string{"site": "lab"}, KeyExpires: ends})
		if err != nil {
			panic(err)
		}
		w.Message(&nats.Msg{Subject: eventlog.InfoSubject(id), Data: b})
	}
	return map[string]wrong{
		"a run that is paused because devices failed": {
			tell: func(w *storytest.Story) {
				batched(w, devices(w, 1)...)
				w.Run(till, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Batch: 1, Reason: "BatchFailed", Message: "3 of 10 devices are bad, and 0 may be"})
			},
			kind: attention.RolloutPaused, weight: attention.Critical,
			item: "shop/till (0): the rollout of shop/till, revision 1, is paused", reason: "BatchFailed: 3 of 10 devices are bad, and 0 may be", run: "fleetctl rollout status deployment/till -n shop",
		},
		"a batch that does not get on": {
			tell: func(w *storytest.Story) {
				batched(w, devices(w, 1)...)
				w.Run(till, eventlog.RolloutStalled, eventlog.Rollout{Revision: 1, Batch: 1, Reason: "Waiting"})
			},
			kind: attention.RolloutStalled, weight: attention.Critical,
			item: "shop/till (0): the rollout of shop/till, revision 1, is stalled", reason: "does not get on", run: "fleetctl rollout status deployment/till -n shop",
		},
		"a batch that waits for a person": {
			tell: func(w *storytest.Story) {
				batched(w, devices(w, 1)...)
				w.Run(till, eventlog.RolloutStarted, eventlog.Rollout{
					Revision: 1, Kind: eventlog.RunUpdate, Strategy: "Batched", Devices: 2,
					Batches: []eventlog.PlannedBatch{{Cut: 1, Size: 1}, {Cut: fleet.LastCut, Size: 1}},
				})
				w.Run(till, eventlog.RolloutBatchStarted, eventlog.Rollout{Revision: 1, Batch: 1})
				w.Run(till, eventlog.RolloutBatchSucceeded, eventlog.Rollout{Revision: 1, Batch: 1})
			},
			kind: attention.Approval, weight: attention.Notice,
			item: "shop/till (0): the rollout of shop/till, revision 1, waits for approval", reason: "batch 1 of 2 succeeded", run: "fleetctl rollout promote deployment/till -n shop",
		},
		"content that a person aborted": {
			tell: func(w *storytest.Story) {
				batched(w, devices(w, 1)...)
				w.Run(till, eventlog.RolloutAborted, eventlog.Rollout{Revision: 1, Batch: 1})
			},
			kind: attention.RolloutEnded, weight: attention.Warning,
			item: "shop/till (0): the rollout of shop/till, revision 1, was aborted", reason: "each device keeps what it has", run: "fleetctl rollout retry deployment/till -n shop",
		},
		"a rollout that a person holds": {
			tell: func(w *storytest.Story) {
				batched(w, devices(w, 1)...)
				w.Run(till, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Request: 1, Message: "the shop is open"}, storytest.By("ada"))
			},
			kind: attention.Held, weight: attention.Notice,
			item: "shop/till (0): ada holds shop/till", reason: "the shop is open; nothing new", run: "fleetctl rollout resume deployment/till -n shop",
		},
		"devices that fail for one reason": {
			tell: func(w *storytest.Story) {
				ids := devices(w, 3)
				out(w, ids...)
				w.Failing(ids[0], till, "ImageNotFound", "no such tag")
				w.Failing(ids[2], till, "ImageNotFound", "no such tag either")
			},
			kind: attention.DevicesFailing, weight: attention.Warning,
			item: "shop/till (2): shop/till fails on 2 devices", reason: "pi-01 says: ImageNotFound: no such tag", run: "fleetctl explain device/pi-01 deployment/till -n shop",
		},
		"a device that says nothing of what it was given": {
			tell: func(w *storytest.Story) {
				ids := devices(w, 1)
				applied := w.Apply(till, 1, storytest.Podman("nginx:1"))
				w.Rollout(till, eventlog.RolloutStarted, 1, 1)
				w.Assign(ids[0], till, 1, applied)
			},
			after: 11 * time.Minute,
			kind:  attention.DevicesSilent, weight: attention.Warning,
			item: "shop/till (1): shop/till does not run on pi-01", reason: "within the deadline of 10m0s that revision 1 runs", run: "fleetctl explain device/pi-01 deployment/till -n shop",
		},
		"a device that is away": {
			tell:  func(w *storytest.Story) { out(w, devices(w, 3)...); w.Offline("pi-02") },
			after: 11 * time.Minute,
			kind:  attention.Offline, weight: attention.Warning,
			item: "pi-02 (1): pi-02 is offline", reason: "was last heard 12m40s ago", run: "fleetctl device why pi-02",
		},
		"more than half of the fleet is away": {
			tell: func(w *storytest.Story) {
				ids := devices(w, 20)
				out(w, ids...)
				for _, id := range ids[:11] {
					w.Offline(id)
				}
			},
			after: time.Hour,
			kind:  attention.Offline, weight: attention.Critical,
			item: " (11): 11 devices are offline", reason: "of 20 devices that many are away for longer than they used to be (such as pi-01, pi-02, pi-03, pi-04, pi-05): look at the network", run: "fleetctl get devices",
		},
		"two machines of one name": {
			tell: func(w *storytest.Story) {
				out(w, devices(w, 1)...)
				for i, epoch := range []string{"a", "b", "a"} {
					m := &nats.Msg{Subject: eventlog.InfoSubject("pi-01"), Data: []byte(`{"device_id":"pi-01","labels":{"site":"lab"}}`), Header: nats.Header{}}
					m.Header.Set(eventlog.HeaderCounter, eventlog.Counter{Epoch: epoch, N: uint64(i + 1)}.String())
					w.Message(m)
				}
			},
			kind: attention.DuplicateIdentity, weight: attention.Critical,
			item: "pi-01 (1): two machines are pi-01", reason: "cloned SD card", run: "fleetctl history device/pi-01",
		},
		"a device that flooded the log": {
			tell: func(w *storytest.Story) {
				out(w, devices(w, 1)...)
				w.Say(eventlog.AccessSubject("pi-01"), eventlog.AccessRevoked, eventlog.Access{Reason: fleet.ReasonFlooding})
			},
			kind: attention.Flood, weight: attention.Warning,
			item: "pi-01 (1): pi-01 was cut off", reason: "more to the log than its budget", run: "fleetctl device allow pi-01",
		},
		"a Deployment whose resource is gone": {
			tell: func(w *storytest.Story) {
				out(w, devices(w, 2)...)
				w.End(till, eventlog.DeploymentOrphaned, "")
			},
			kind: attention.Orphaned, weight: attention.Warning,
			item: "shop/till (2): shop/till is orphaned", reason: "apply it again to adopt it", run: "fleetctl withdraw deployment/till -n shop",
		},
		"a spec that is refused": {
			tell: func(w *storytest.Story) {
				out(w, devices(w, 1)...)
				w.Say(eventlog.DeploymentSubject("shop", "till"), eventlog.DeploymentRefused, eventlog.Refusal{UID: "u-till", Generation: 2, Reason: "InvalidSelector", Message: "the selector wants nothing"})
			},
			kind: attention.SpecRefused, weight: attention.Warning,
			item: "shop/till (0): the newest spec of shop/till is refused", reason: "InvalidSelector: the selector wants nothing", run: "kubectl edit fleetdep till -n shop",
		},
		"two Deployments of one name": {
			tell: func(w *storytest.Story) {
				out(w, devices(w, 2)...)
				w.Apply(other, 1, storytest.Podman("nginx:1"))
			},
			kind: attention.NameConflict, weight: attention.Warning,
			item: "zoo/till (2): zoo/till is kept off 2 devices", reason: "shop/till holds the name till there (pi-01, pi-02)", run: "fleetctl explain device/pi-01 deployment/till -n zoo",
		},
		"a budget that bounds nothing": {
			tell: func(w *storytest.Story) {
				w.Say(eventlog.BudgetSubject("doors"), eventlog.BudgetApplied, eventlog.Budget{Problem: "the selector wants nothing"})
			},
			kind: attention.BudgetInvalid, weight: attention.Warning,
			item: "doors (0): DisruptionBudget doors bounds nothing", reason: "the selector wants nothing", run: "kubectl edit fleetdb doors",
		},
		"a budget whose resource is gone": {
			tell: func(w *storytest.Story) {
				w.Say(eventlog.BudgetSubject("doors"), eventlog.BudgetApplied, eventlog.Budget{})
				w.Say(eventlog.BudgetSubject("doors"), eventlog.BudgetDeleted, eventlog.BudgetEnd{Reason: eventlog.ReasonBudgetMissing})
			},
			kind: attention.Orphaned, weight: attention.Warning,
			item: "doors (0): DisruptionBudget doors is gone", reason: "apply it again", run: "kubectl get fleetdb",
		},
		"a device that runs what the log never gave it": {
			tell: func(w *storytest.Story) {
				ids := devices(w, 1)
				w.State(ids[0], till, eventlog.DeploymentState{Phase: eventlog.PhaseRunning})
			},
			kind: attention.Unknown, weight: attention.Notice,
			item: "pi-01 (1): pi-01 runs what the log does not know", reason: "it reports till, which was never assigned", run: "fleetctl explain device/pi-01",
		},
		"a key that ends soon": {
			tell: func(w *storytest.Story) { out(w, devices(w, 1)...); info(w, "pi-01", w.Now().Add(24*time.Hour)) },
			kind: attention.KeyExpiring, weight: attention.Notice,
			item: "pi-01 (1): the key of pi-01 ends soon", reason: "give it a new one", run: "fleetctl enroll rotate pi-01",
		},
		"a key that has ended": {
			tell: func(w *storytest.Story) { out(w, devices(w, 1)...); info(w, "pi-01", w.Now().Add(-time.Hour)) },
			kind: attention.KeyExpiring, weight: attention.Warning,
			item: "pi-01 (1): the key of pi-01 has ended", reason: "enrol it again", run: "fleetctl device why pi-01",
		},
		"a request that no operator answers": {
			tell: func(w *storytest.Story) {
				out(w, devices(w, 1)...)
				w.Ask("ada", till, eventlog.Request{Verb: eventlog.RequestPause, Revision: 1})
			},
			after: 2 * time.Minute,
			kind:  attention.OperatorSilent, weight: attention.Critical,
			item: " (0): no operator answers", reason: "ada asked to pause the rollout of shop/till", run: "fleetctl doctor",
		},
		"a log that fills up": {
			tell:  func(w *storytest.Story) { out(w, devices(w, 1)...) },
			facts: attention.Facts{Log: &attention.LogSize{Bytes: 85, MaxBytes: 100}},
			kind:  attention.LogFull, weight: attention.Warning,
			item: " (0): the event log is 85 % full", reason: "85 of 100 bytes", run: "fleetctl doctor",
		},
		"a full log": {
			tell:  func(w *storytest.Story) { out(w, devices(w, 1)...) },
			facts: attention.Facts{Log: &attention.LogSize{Bytes: 99, MaxBytes: 100}},
			kind:  attention.LogFull, weight: attention.Critical,
			item: " (0): the event log is full", reason: "nothing is recorded or decided any more", run: "fleetctl doctor",
		},
		"a bucket that the servers do not keep": {
			tell:  func(w *storytest.Story) { out(w, devices(w, 1)...) },
			facts: attention.Facts{Buckets: []attention.Bucket{{Name: "device-info", Reason: "it lacks message 7"}}},
			kind:  attention.BucketStalled, weight: attention.Critical,
			item: "device-info (0): bucket device-info is not kept", reason: "it lacks message 7", run: "fleetctl rebuild device-info",
		},
	}
}

func (s wrong) look(t *testing.T) (*fleet.View, time.Time, []attention.Item) {
	w := storytest.New(t)
	s.tell(w)
	v := w.Fleet(timeline.Options{})
	now := v.Clock.Add(s.after)
	return v, now, attention.Of(v, now, s.facts)
}

func TestWhatIsWrongIsFoundWithItsReasonAndItsCommand(t *testing.T) {
	t.Parallel()
	for name, s := range stories() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, now, items := s.look(t)
			if len(items) != 1 {
				t.Fatalf("one thing is wrong, and the list is %+v", items)
			}
			i := items[0]
			key := i.Name
			if i.Namespace != "" {
				key = i.Namespace + "/" + i.Name
			}
			got := []string{string(i.Kind), i.Severity.String(), fmt.Sprintf("%s (%d): %s", key, i.Devices, i.Title), i.Command}
			if diff := cmp.Diff([]string{string(s.kind), s.weight.String(), s.item, s.run}, got); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(i.Reason, s.reason) {
				t.Errorf("the reason is %q, and %q is no part of it", i.Reason, s.reason)
			}
			if i.Since.After(now) {
				t.Errorf("it began at %s, after %s", i.Since, now)
			}
			if len(i.Examples) > i.Devices {
				t.Errorf("%d devices, and the examples are %v", i.Devices, i.Examples)
			}
		})
	}
}

func TestEachKindHasAStory(t *testing.T) {
	t.Parallel()
	var told []attention.Kind
	for _, s := range stories() {
		told = append(told, s.kind)
	}
	for _, k := range attention.Kinds() {
		if !slices.Contains(told, k) {
			t.Errorf("no story has %s", k)
		}
	}
}

func TestNothingNeedsAPersonInAHealthyFleet(t *testing.T) {
	t.Parallel()
	s := wrong{tell: func(w *storytest.Story) { out(w, devices(w, 30)...) }, after: 30 * 24 * time.Hour, facts: attention.Facts{Log: &attention.LogSize{Bytes: 1, MaxBytes: 100}}}
	if _, _, items := s.look(t); len(items) > 0 {
		t.Errorf("nothing is wrong, and the list is %+v", items)
	}
}

func TestADeviceThatIsOftenAwayIsMissedOnceItIsAwayForLonger(t *testing.T) {
	t.Parallel()
	facts := attention.Facts{Habits: map[string]time.Duration{"pi-01": 12 * time.Hour}}
	for away, missed := range map[time.Duration]bool{11 * time.Hour: false, 13 * time.Hour: true} {
		s := wrong{tell: func(w *storytest.Story) { out(w, devices(w, 3)...); w.Offline("pi-01") }, after: away, facts: facts}
		_, _, items := s.look(t)
		if found := len(items) == 1 && strings.Contains(items[0].Reason, "away for 12h00m at most before"); found != missed {
			t.Errorf("away for %s: %+v", away, items)
		}
	}
}
