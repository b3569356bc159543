package fleetctl_test

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// hello is the Deployment of the stories of batches.
var hello = fleet.Key{Namespace: "default", Name: "hello"}

// inOrder are the devices of the stories of batches, as hello's rollouts take them.
func inOrder() []string {
	ids := []string{"edge-01", "edge-02", "edge-03"}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(fleet.Order(hello, a), fleet.Order(hello, b)) })
	return ids
}

// batches is a rollout in two batches, whose first device is at work.
func batches() []told {
	var story []told
	say := func(kind eventlog.Type, r eventlog.Rollout) {
		story = append(story, told{eventlog.DeploymentSubject(hello.Namespace, hello.Name), kind, r})
	}
	ids := inOrder()
	for _, id := range ids {
		story = append(story, info(id, "arm64"), relabeled(id),
			told{eventlog.DeviceSubject(id), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseReceived"}},
			assigned(id, "hello", "nginx:1"), reported(id, "hello", 1, eventlog.PhaseRunning, "", ""))
	}
	say(eventlog.RolloutStarted, eventlog.Rollout{Revision: 1, Kind: eventlog.RunUpdate, Strategy: eventlog.StrategyBatched, Devices: 3, Online: 3})
	say(eventlog.RolloutCompleted, eventlog.Rollout{Revision: 1, Kind: eventlog.RunUpdate})
	second := askedBy("alice", applied("default", "hello", 2, "nginx:2"))
	spec := second.payload.(eventlog.Deployment)
	spec.Rollout, spec.ChangeCause = json.RawMessage(`{"strategy":"Batched","batches":[{"size":1},{}]}`), "a new menu"
	second.payload = spec
	story = append(story, second)
	say(eventlog.RolloutStarted, eventlog.Rollout{
		Revision: 2, Kind: eventlog.RunUpdate, Strategy: eventlog.StrategyBatched, Devices: 3, Online: 3, Shape: "Batched 1 rest",
		Batches: []eventlog.PlannedBatch{{Cut: fleet.Order(hello, ids[0]), Size: 1}, {Cut: 1<<64 - 1, Size: 2}},
	})
	return append(story, assigned(ids[0], "hello", "nginx:2"))
}

// batchFails is how it goes on: the first device fails, and the rollout pauses.
func batchFails() []told {
	subject := eventlog.DeploymentSubject(hello.Namespace, hello.Name)
	counts := &eventlog.RolloutCounts{Given: 1, Bad: 1}
	return []told{
		reported(inOrder()[0], "hello", 2, eventlog.PhaseFailed, "ImagePullFailed", "manifest unknown"),
		{subject, eventlog.RolloutBatchFailed, eventlog.Rollout{Revision: 2, Batch: 1, Reason: eventlog.OnFailurePause, Counts: counts}},
		{subject, eventlog.RolloutPaused, eventlog.Rollout{Revision: 2, Batch: 1, Reason: "BatchFailed", Message: "batch 1 failed: 1 device is bad", Counts: counts}},
	}
}

// answerRollout is what an operator says to a request about hello's rollout: it refuses
// to abort.
func (w *world) answerRollout(m *nats.Msg, asked eventlog.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r := eventlog.Rollout{Revision: 2, Batch: asked.Batch, Verb: asked.Verb, Full: asked.Full, Kind: eventlog.RunUpdate, Reason: "Requested"}
	for ctx.Err() == nil && r.Request == 0 { // it may not be stored yet
		got, err := reader.LastMessage(ctx, w.js, eventlog.LogStream, m.Subject)
		if err == nil && got.Header.Get(eventlog.HeaderID) == m.Header.Get(eventlog.HeaderID) {
			r.Request = got.Sequence
		}
	}
	kind := map[string]eventlog.Type{
		eventlog.RequestPause: eventlog.RolloutPaused, eventlog.RequestResume: eventlog.RolloutResumed, eventlog.RequestPromote: eventlog.RolloutPromoted,
		eventlog.RequestUndo: eventlog.RolloutStarted, eventlog.RequestAbort: eventlog.RolloutRequestRefused,
	}[asked.Verb]
	switch kind {
	case eventlog.RolloutRequestRefused:
		r.Reason, r.Message = "NotPossible", "no update is on its way"
	case eventlog.RolloutStarted:
		r.Kind, r.From, r.Revision, r.Score = eventlog.RunRollback, 2, 1, image("nginx:1")
		r.ScoreHash = eventlog.Hash(r.Score)
	}
	_ = w.say(told{eventlog.DeploymentSubject(hello.Namespace, hello.Name), kind, r})
}

func TestARolloutIsDrawnAgainOnATerminal(t *testing.T) {
	t.Parallel()
	w := openFleet(t)
	if err := w.say(batches()...); err != nil {
		t.Fatal(err)
	}
	s := openTerminal(t, 100, 40, fleetEnv(w), "fleetctl", "rollout", "status", "hello", "-w")
	s.until("default/hello: Progressing", "├─ 1  open", "updating      1", "waiting       2")
	if err := w.say(batchFails()...); err != nil {
		t.Fatal(err)
	}
	s.until("default/hello: Paused", "├─ 1  failed", inOrder()[0]+"  ImagePullFailed: manifest unknown")
	_ = s.ended()
	if code := s.cmd.ProcessState.ExitCode(); code != 6 {
		t.Errorf("it ended with %d, want 6", code)
	}
	if shown := s.screen(); strings.Contains(shown, "Progressing") || strings.Count(shown, "Batches") != 1 {
		t.Errorf("what was drawn before is still there:\n%s", shown)
	}
}

func TestAPersonAbortsOnlyAfterAQuestion(t *testing.T) {
	t.Parallel()
	w := openFleet(t)
	if err := w.say(batches()...); err != nil {
		t.Fatal(err)
	}
	s := openTerminal(t, 100, 24, fleetEnv(w), "fleetctl-on-terminal", "rollout", "abort", "hello")
	s.until("Abort the rollout of default/hello to revision 2, and leave its devices as they are? [y/N]")
	s.press("n\r")
	s.until("not confirmed; nothing was changed")
	_ = s.ended()
}
