// Package attentiontest tells stories at whose end one thing needs a person, for tests.
package attentiontest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// Other has the name of storytest.Till.
var Other = fleet.Key{Namespace: "zoo", Name: "till"}

var till = storytest.Till

// Wrong is a story, and the one thing that needs a person at its end.
type Wrong struct {
	Tell   func(*storytest.Story)
	Facts  attention.Facts
	After  time.Duration // how long after the last event it is looked at
	Kind   attention.Kind
	Weight attention.Severity
	Item   string // [namespace/]name (devices): title
	Reason string // part of it
	Run    string // the command
}

// Devices registers devices of the lab that are online.
func Devices(w *storytest.Story, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("pi-%02d", i+1))
		w.Device(ids[i], map[string]string{"site": "lab"})
		w.Online(ids[i])
	}
	return ids
}

// oneDevice is a fleet in which nothing is wrong: till runs on its one device.
func oneDevice(w *storytest.Story) { Out(w, Devices(w, 1)...) }

// Out brings till to all devices, which run it.
func Out(w *storytest.Story, ids ...string) {
	applied := w.Apply(till, 1, storytest.Podman("nginx:1"))
	w.Rollout(till, eventlog.RolloutStarted, 1, len(ids))
	for _, id := range ids {
		w.Assign(id, till, 1, applied)
		w.Report(id, till, eventlog.PhaseRunning, "", 1)
	}
	w.Rollout(till, eventlog.RolloutCompleted, 1, len(ids))
}

// batched begins the run of revision 1 in two batches.
func batched(w *storytest.Story, ids ...string) uint64 {
	w.Apply(till, 1, storytest.Podman("nginx:1"), storytest.Batched)
	w.Start(till, 1, len(ids))
	return uint64(len(w.Events))
}

// Stories has for each kind of trouble one story or more.
func Stories() map[string]Wrong {
	info := func(w *storytest.Story, id string, ends time.Time) {
		b, err := json.Marshal(eventlog.DeviceInfo{DeviceID: id, Labels: map[string]string{"site": "lab"}, KeyExpires: ends})
		if err != nil {
			panic(err)
		}
		w.Message(&nats.Msg{Subject: eventlog.InfoSubject(id), Data: b})
	}
	return map[string]Wrong{
		"a run that is paused because devices failed": {
			Tell: func(w *storytest.Story) {
				batched(w, Devices(w, 1)...)
				w.Run(till, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Batch: 1, Reason: "BatchFailed", Message: "3 of 10 devices are bad, and 0 may be"})
			},
			Kind: attention.RolloutPaused, Weight: attention.Critical,
			Item: "shop/till (0): the rollout of shop/till, revision 1, is paused", Reason: "BatchFailed: 3 of 10 devices are bad, and 0 may be", Run: "fleetctl rollout status deployment/till -n shop",
		},
		"a batch that does not get on": {
			Tell: func(w *storytest.Story) {
				Devices(w, 1)
				db := fleet.Key{Namespace: "shop", Name: "db"}
				w.Apply(db, 1, storytest.Podman("nginx:1"))
				w.Rollout(db, eventlog.RolloutStarted, 1, 1)
				w.Apply(till, 1, storytest.Podman("nginx:1"), func(d *eventlog.Deployment) {
					d.Rollout = json.RawMessage(`{"batches":[{"soak":"1m0s"}],"dependsOn":["db"]}`)
				})
				w.Run(till, eventlog.RolloutStarted, eventlog.Rollout{
					Revision: 1, Kind: eventlog.RunUpdate, Strategy: "Batched", Devices: 1, Batches: []eventlog.PlannedBatch{{Cut: fleet.LastCut, Size: 1}},
				})
				w.Run(till, eventlog.RolloutBatchStarted, eventlog.Rollout{Revision: 1, Batch: 1})
				w.Run(till, eventlog.RolloutStalled, eventlog.Rollout{Revision: 1, Batch: 1, Reason: "AwaitingDependencies"})
			},
			Kind: attention.RolloutStalled, Weight: attention.Critical,
			Item: "shop/till (0): the rollout of shop/till, revision 1, is stalled", Reason: "it depends on shop/db, which is not assigned to pi-01", Run: "fleetctl rollout status deployment/till -n shop",
		},
		"a batch that waits for a person": {
			Tell: func(w *storytest.Story) {
				batched(w, Devices(w, 1)...)
				w.Run(till, eventlog.RolloutStarted, eventlog.Rollout{
					Revision: 1, Kind: eventlog.RunUpdate, Strategy: "Batched", Devices: 2,
					Batches: []eventlog.PlannedBatch{{Cut: 1, Size: 1}, {Cut: fleet.LastCut, Size: 1}},
				})
				w.Run(till, eventlog.RolloutBatchStarted, eventlog.Rollout{Revision: 1, Batch: 1})
				w.Run(till, eventlog.RolloutBatchSucceeded, eventlog.Rollout{Revision: 1, Batch: 1})
			},
			Kind: attention.Approval, Weight: attention.Notice,
			Item: "shop/till (0): the rollout of shop/till, revision 1, waits for approval", Reason: "batch 1 of 2 succeeded", Run: "fleetctl rollout promote deployment/till -n shop",
		},
		"content that a person aborted": {
			Tell: func(w *storytest.Story) {
				batched(w, Devices(w, 1)...)
				w.Run(till, eventlog.RolloutAborted, eventlog.Rollout{Revision: 1, Batch: 1})
			},
			Kind: attention.RolloutEnded, Weight: attention.Warning,
			Item: "shop/till (0): the rollout of shop/till, revision 1, was aborted", Reason: "each device keeps what it has", Run: "fleetctl rollout retry deployment/till -n shop",
		},
		"a rollout that a person holds": {
			Tell: func(w *storytest.Story) {
				batched(w, Devices(w, 1)...)
				w.Run(till, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Request: 1, Message: "the shop is open"}, storytest.By("ada"))
			},
			Kind: attention.Held, Weight: attention.Notice,
			Item: "shop/till (0): ada holds shop/till", Reason: "the shop is open; nothing new", Run: "fleetctl rollout resume deployment/till -n shop",
		},
		"devices that fail for one reason": {
			Tell: func(w *storytest.Story) {
				ids := Devices(w, 3)
				Out(w, ids...)
				w.Failing(ids[0], till, "ImageNotFound", "no such tag")
				w.Failing(ids[2], till, "ImageNotFound", "no such tag either")
			},
			Kind: attention.DevicesFailing, Weight: attention.Warning,
			Item: "shop/till (2): shop/till fails on 2 devices", Reason: "pi-01 says: ImageNotFound: no such tag", Run: "fleetctl explain device/pi-01 deployment/till -n shop",
		},
		"a device that says nothing of what it was given": {
			Tell: func(w *storytest.Story) {
				ids := Devices(w, 1)
				applied := w.Apply(till, 1, storytest.Podman("nginx:1"))
				w.Rollout(till, eventlog.RolloutStarted, 1, 1)
				w.Assign(ids[0], till, 1, applied)
			},
			After: 11 * time.Minute,
			Kind:  attention.DevicesSilent, Weight: attention.Warning,
			Item: "shop/till (1): shop/till does not run on pi-01", Reason: "within the deadline of 10m0s that revision 1 runs", Run: "fleetctl explain device/pi-01 deployment/till -n shop",
		},
		"a device that is away": {
			Tell:  func(w *storytest.Story) { Out(w, Devices(w, 3)...); w.Offline("pi-02") },
			After: 11 * time.Minute,
			Kind:  attention.Offline, Weight: attention.Warning,
			Item: "pi-02 (1): pi-02 is offline", Reason: "was last heard 12m40s ago", Run: "fleetctl device why pi-02",
		},
		"more than half of the fleet is away": {
			Tell: func(w *storytest.Story) {
				ids := Devices(w, 20)
				Out(w, ids...)
				for _, id := range ids[:11] {
					w.Offline(id)
				}
			},
			After: time.Hour,
			Kind:  attention.Offline, Weight: attention.Critical,
			Item: " (11): 11 devices are offline", Reason: "of 20 devices that many are away for longer than they used to be (such as pi-01, pi-02, pi-03, pi-04, pi-05): look at the network", Run: "fleetctl get devices",
		},
		"two machines of one name": {
			Tell: func(w *storytest.Story) {
				Out(w, Devices(w, 1)...)
				for i, epoch := range []string{"a", "b", "a"} {
					m := &nats.Msg{Subject: eventlog.InfoSubject("pi-01"), Data: []byte(`{"device_id":"pi-01","labels":{"site":"lab"}}`), Header: nats.Header{}}
					m.Header.Set(eventlog.HeaderCounter, eventlog.Counter{Epoch: epoch, N: uint64(i + 1)}.String())
					w.Message(m)
				}
			},
			Kind: attention.DuplicateIdentity, Weight: attention.Critical,
			Item: "pi-01 (1): two machines are pi-01", Reason: "cloned SD card", Run: "fleetctl history device/pi-01",
		},
		"a device that flooded the log": {
			Tell: func(w *storytest.Story) {
				Out(w, Devices(w, 1)...)
				w.Say(eventlog.AccessSubject("pi-01"), eventlog.AccessRevoked, eventlog.Access{Reason: fleet.ReasonFlooding})
			},
			Kind: attention.Flood, Weight: attention.Warning,
			Item: "pi-01 (1): pi-01 was cut off", Reason: "more to the log than its budget", Run: "fleetctl device allow pi-01",
		},
		"a Deployment whose resource is gone": {
			Tell: func(w *storytest.Story) {
				Out(w, Devices(w, 2)...)
				w.End(till, eventlog.DeploymentOrphaned, "")
			},
			Kind: attention.Orphaned, Weight: attention.Warning,
			Item: "shop/till (2): shop/till is orphaned", Reason: "apply it again to adopt it", Run: "fleetctl withdraw deployment/till -n shop",
		},
		"a spec that is refused": {
			Tell: func(w *storytest.Story) {
				Out(w, Devices(w, 1)...)
				w.Say(eventlog.DeploymentSubject("shop", "till"), eventlog.DeploymentRefused, eventlog.Refusal{UID: "u-till", Generation: 2, Reason: "InvalidSelector", Message: "the selector wants nothing"})
			},
			Kind: attention.SpecRefused, Weight: attention.Warning,
			Item: "shop/till (0): the newest spec of shop/till is refused", Reason: "InvalidSelector: the selector wants nothing", Run: "kubectl edit fleetdep till -n shop",
		},
		"a score that names a label which a device lacks": {
			Tell: func(w *storytest.Story) {
				out := Devices(w, 2)
				w.Label("pi-02", map[string]string{"site": "lab", "zone": "a"}, "kubectl-label")
				applied := w.Apply(till, 1, storytest.Podman("nginx:1", `"env":{"ZONE":"$(device.labels.zone)"}`))
				w.Rollout(till, eventlog.RolloutStarted, 1, len(out))
				w.Assign("pi-02", till, 1, applied)
				w.Report("pi-02", till, eventlog.PhaseRunning, "", 1)
			},
			Kind: attention.ValueMissing, Weight: attention.Warning,
			Item: "shop/till (1): shop/till cannot be filled in for 1 device", Reason: "pi-01: it has no label zone, which", Run: "fleetctl explain device/pi-01 deployment/till -n shop",
		},
		"a Deployment that depends on itself": {
			Tell: func(w *storytest.Story) {
				w.Apply(till, 1, storytest.Podman("nginx:1"), func(d *eventlog.Deployment) { d.Rollout = json.RawMessage(`{"dependsOn":["till"]}`) })
			},
			Kind: attention.DependencyCycle, Weight: attention.Warning,
			Item: "shop/till (0): shop/till depends on itself", Reason: "by way of spec.rollout.dependsOn", Run: "kubectl edit fleetdep till -n shop",
		},
		"two Deployments of one name": {
			Tell: func(w *storytest.Story) {
				Out(w, Devices(w, 2)...)
				w.Apply(Other, 1, storytest.Podman("nginx:1"))
			},
			Kind: attention.NameConflict, Weight: attention.Warning,
			Item: "zoo/till (2): zoo/till is kept off 2 devices", Reason: "shop/till holds the name till there (pi-01, pi-02)", Run: "fleetctl explain device/pi-01 deployment/till -n zoo",
		},
		"a budget that bounds nothing": {
			Tell: func(w *storytest.Story) {
				w.Say(eventlog.BudgetSubject("doors"), eventlog.BudgetApplied, eventlog.Budget{Problem: "the selector wants nothing"})
			},
			Kind: attention.BudgetInvalid, Weight: attention.Warning,
			Item: "doors (0): DisruptionBudget doors bounds nothing", Reason: "the selector wants nothing", Run: "kubectl edit fleetdb doors",
		},
		"a budget whose resource is gone": {
			Tell: func(w *storytest.Story) {
				w.Say(eventlog.BudgetSubject("doors"), eventlog.BudgetApplied, eventlog.Budget{})
				w.Say(eventlog.BudgetSubject("doors"), eventlog.BudgetDeleted, eventlog.BudgetEnd{Reason: eventlog.ReasonBudgetMissing})
			},
			Kind: attention.Orphaned, Weight: attention.Warning,
			Item: "doors (0): DisruptionBudget doors is gone", Reason: "apply it again", Run: "kubectl get fleetdb",
		},
		"a device that runs what the log never gave it": {
			Tell: func(w *storytest.Story) {
				ids := Devices(w, 1)
				w.State(ids[0], till, eventlog.DeploymentState{Phase: eventlog.PhaseRunning})
			},
			Kind: attention.Unknown, Weight: attention.Notice,
			Item: "pi-01 (1): pi-01 runs what the log does not know", Reason: "it reports till, which was never assigned", Run: "fleetctl explain device/pi-01",
		},
		"a key that ends soon": {
			Tell: func(w *storytest.Story) { Out(w, Devices(w, 1)...); info(w, "pi-01", w.Now().Add(24*time.Hour)) },
			Kind: attention.KeyExpiring, Weight: attention.Notice,
			Item: "pi-01 (1): the key of pi-01 ends soon", Reason: "give it a new one", Run: "fleetctl enroll rotate pi-01",
		},
		"a key that has ended": {
			Tell: func(w *storytest.Story) { Out(w, Devices(w, 1)...); info(w, "pi-01", w.Now().Add(-time.Hour)) },
			Kind: attention.KeyExpiring, Weight: attention.Warning,
			Item: "pi-01 (1): the key of pi-01 has ended", Reason: "enrol it again", Run: "fleetctl device why pi-01",
		},
		"a request that no operator answers": {
			Tell: func(w *storytest.Story) {
				Out(w, Devices(w, 1)...)
				w.Ask("ada", till, eventlog.Request{Verb: eventlog.RequestPause, Revision: 1})
			},
			After: 2 * time.Minute,
			Kind:  attention.OperatorSilent, Weight: attention.Critical,
			Item: " (0): no operator answers", Reason: "ada asked to pause the rollout of shop/till", Run: "fleetctl doctor",
		},
		"a log that fills up": {
			Tell:  oneDevice,
			Facts: attention.Facts{Log: &attention.LogSize{Bytes: 85 << 20, MaxBytes: 100 << 20, Size: 111 << 20}},
			Kind:  attention.LogFull, Weight: attention.Warning,
			Item: " (0): the event log fills up", Reason: "it is 85 % full", Run: "fleetctl doctor",
		},
		"a log whose reserve is about to open": {
			Tell:  oneDevice,
			Facts: attention.Facts{Log: &attention.LogSize{Bytes: 100<<20 - 100<<10, MaxBytes: 100 << 20, Size: 111 << 20}},
			Kind:  attention.LogFull, Weight: attention.Critical,
			Item: " (0): the event log has reached its size", Reason: "the operator opens its reserve, the last tenth, with the next event that does not fit", Run: "fleetctl doctor",
		},
		"a log that lives on its reserve": {
			Tell:  oneDevice,
			Facts: attention.Facts{Log: &attention.LogSize{Bytes: 90 << 20, MaxBytes: 100 << 20, Size: 100 << 20}},
			Kind:  attention.LogFull, Weight: attention.Critical,
			Item: " (0): the event log lives on its reserve", Reason: "once that is used up nothing is recorded", Run: "fleetctl doctor",
		},
		"a full log": {
			Tell:  oneDevice,
			Facts: attention.Facts{Log: &attention.LogSize{Bytes: 100<<20 - 100<<10, MaxBytes: 100 << 20, Size: 100 << 20}},
			Kind:  attention.LogFull, Weight: attention.Critical,
			Item: " (0): the event log is full", Reason: "nothing is recorded or decided any more", Run: "fleetctl doctor",
		},
		"a full log of which nobody says whether it has a reserve": {
			Tell:  oneDevice,
			Facts: attention.Facts{Log: &attention.LogSize{Bytes: 100<<20 - 100<<10, MaxBytes: 100 << 20}},
			Kind:  attention.LogFull, Weight: attention.Critical,
			Item: " (0): the event log is full", Reason: "unless the operator has a reserve left to open", Run: "fleetctl doctor",
		},
		"a certificate of the servers that ends in three weeks": {
			Tell:  oneDevice,
			Facts: attention.Facts{Certificate: certificate(3*365*24*time.Hour, 21*24*time.Hour)},
			Kind:  attention.CertificateExpiring, Weight: attention.Warning,
			Item: " (0): the NATS servers' certificate ends soon", Reason: "renew it", Run: "fleetctl doctor",
		},
		"a certificate of the servers that ends in three days": {
			Tell:  oneDevice,
			Facts: attention.Facts{Certificate: certificate(3*365*24*time.Hour, 3*24*time.Hour)},
			Kind:  attention.CertificateExpiring, Weight: attention.Critical,
			Item: " (0): the NATS servers' certificate ends soon", Reason: "let in no device", Run: "fleetctl doctor",
		},
		"a certificate of the servers that has ended": {
			Tell:  oneDevice,
			Facts: attention.Facts{Certificate: certificate(3*365*24*time.Hour, -time.Hour)},
			Kind:  attention.CertificateExpiring, Weight: attention.Critical,
			Item: " (0): the NATS servers' certificate has ended", Reason: "it ended at", Run: "fleetctl doctor",
		},
		"a bucket that lags": {
			Tell:  oneDevice,
			Facts: attention.Facts{Buckets: []attention.Bucket{{Name: eventlog.BucketInfo, Finding: buckets.Sound, Lacks: 7}}},
			Kind:  attention.BucketStalled, Weight: attention.Critical,
			Item: "device-info (0): bucket device-info is not kept", Reason: "it lacks message 7", Run: "fleetctl verify",
		},
		"a bucket that is gone": {
			Tell:  oneDevice,
			Facts: attention.Facts{Buckets: []attention.Bucket{{Name: eventlog.BucketInfo, Finding: buckets.Missing}}},
			Kind:  attention.BucketStalled, Weight: attention.Critical,
			Item: "device-info (0): bucket device-info is not kept", Reason: "its stream is not there: rebuild it", Run: "fleetctl rebuild device-info",
		},
		"a bucket that is being rebuilt": {
			Tell:  oneDevice,
			Facts: attention.Facts{Buckets: []attention.Bucket{{Name: eventlog.BucketInfo, Finding: buckets.Unfinished}}},
			Kind:  attention.BucketStalled, Weight: attention.Critical,
			Item: "device-info (0): bucket device-info is not kept", Reason: "goes on, or was cut short: wait", Run: "fleetctl doctor",
		},
		"a bucket that no server leads": {
			Tell:  oneDevice,
			Facts: attention.Facts{Buckets: []attention.Bucket{{Name: eventlog.BucketInfo, Finding: buckets.Halted}}},
			Kind:  attention.BucketStalled, Weight: attention.Critical,
			Item: "device-info (0): bucket device-info is not kept", Reason: "no server leads its replicas: bring the NATS servers back", Run: "fleetctl doctor",
		},
		"an operator that stands still": {
			Tell:  oneDevice,
			Facts: attention.Facts{Fold: &attention.Fold{Sequence: 3, Lacks: 4, Since: noon.Add(-time.Hour)}},
			Kind:  attention.OperatorBehind, Weight: attention.Critical,
			Item: " (0): an operator is behind the event log", Reason: "up to event 3, and event 4 was recorded 1h0", Run: "fleetctl doctor",
		},
	}
}

// noon is when the stories begin.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// certificate is one of so long a life of which so much is left on the day of the stories.
func certificate(life, left time.Duration) *attention.Certificate {
	ends := noon.Add(left)
	return &attention.Certificate{Begins: ends.Add(-life), Ends: ends}
}

// Look gives the view at the story's end, when it is looked at, and what needs a person then.
func (s Wrong) Look(tb testing.TB) (*fleet.View, time.Time, []attention.Item) {
	w := storytest.New(tb)
	s.Tell(w)
	v := w.Fleet(timeline.Options{})
	now := v.Clock.Add(s.After)
	return v, now, attention.Of(v, now, s.Facts)
}
