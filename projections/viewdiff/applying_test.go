package viewdiff_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/viewdiff"
)

// drawStory makes a log of what writers may do, in any order.
func drawStory(t *rapid.T, tb testing.TB) *storytest.Story {
	w := storytest.New(tb)
	var last uint64
	for range rapid.IntRange(1, 50).Draw(t, "events") {
		device := rapid.SampledFrom([]string{"pi-01", "pi-02", "pi-03"}).Draw(t, "device")
		key := rapid.SampledFrom([]fleet.Key{storytest.Key("shop", "web"), storytest.Key("lab", "web"), storytest.Key("shop", "db")}).Draw(t, "Deployment")
		image := rapid.SampledFrom([]string{"app:1", "app:2"}).Draw(t, "image")
		revision := rapid.Uint64Range(1, 3).Draw(t, "revision")
		switch rapid.IntRange(0, 16).Draw(t, "kind") {
		case 0, 1:
			last = w.Apply(key, revision, storytest.Podman(image), storytest.Batched)
		case 2, 3:
			last = w.Start(key, revision, 3)
		case 4, 5:
			if w.Score[key] != nil {
				last = w.Give(device, key, revision, 1, last)
			}
		case 6:
			last = w.Withdraw(device, key, last)
		case 7, 8:
			phase := rapid.SampledFrom([]eventlog.Phase{eventlog.PhasePending, eventlog.PhaseRunning, eventlog.PhaseFailed}).Draw(t, "phase")
			last = w.Report(device, key, phase, "", revision)
		case 9:
			last = w.Device(device, map[string]string{"site": image})
		case 10:
			last = w.Online(device)
		case 11:
			last = w.Offline(device)
		case 12:
			w.Leaves(device, key)
		case 13:
			w.Allowed(device)
		case 14:
			kind := rapid.SampledFrom([]eventlog.Type{eventlog.DeploymentDeleted, eventlog.DeploymentOrphaned}).Draw(t, "end")
			last = w.End(key, kind, "CRDeleted")
		case 15:
			kind := rapid.SampledFrom([]eventlog.Type{eventlog.RolloutPaused, eventlog.RolloutResumed, eventlog.RolloutBatchStarted, eventlog.RolloutCompleted}).Draw(t, "run")
			last = w.Run(key, kind, eventlog.Rollout{Kind: eventlog.RunUpdate, Revision: revision, Batch: 2, Request: w.Ask("alice", key, eventlog.Request{Verb: eventlog.RequestPause})})
		case 16:
			last = w.Message(&nats.Msg{Subject: eventlog.StateSubject(device, key.Name), Data: []byte("nobody understands this")})
		}
	}
	return w
}

// What applying an event is said to change is in what the views before it and after it differ,
// whatever was told before.
func TestApplyingAnEventListsInWhatTheViewsAroundItDiffer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		view := fleet.New()
		for e, err := range drawStory(r, t).Log() {
			body, failed := fleet.Encode(view)
			if failed != nil {
				r.Fatal(failed)
			}
			before, failed := fleet.Decode(body)
			if failed != nil {
				r.Fatal(failed)
			}
			got := viewdiff.Applying(view, e, err)
			if diff := cmp.Diff(viewdiff.Between(before, view), got); diff != "" {
				r.Fatalf("event %d, %s on %s (-the views +applying it):\n%s", e.Sequence, e.Type, e.Subject, diff)
			}
		}
	})
}
