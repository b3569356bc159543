package fleetctl_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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

// Of real parts: a person steers a rollout by fleetctl alone, and a GitOps engine that
// applies the same manifest again takes nothing of it back.
func TestAPersonSteersARollout(t *testing.T) {
	t.Parallel()
	lab := map[string]string{"site": "lab"}
	r := record(t, map[string]map[string]string{"edge-01": lab, "edge-02": lab, "edge-03": lab})
	r.online("edge-01", "edge-02", "edge-03")
	r.apply("web", "app:1", lab)
	r.ready("web", v1alpha1.ReasonAllSucceeded, 3)

	// The second revision comes in batches; the first one waits for a person.
	r.steer("web", "app:2", func(*v1alpha1.RolloutSpec) {})
	r.says(`AwaitingApproval`, "rollout", "status", "web", "-o", "json")
	r.says(`"kind": "Update"`, "rollout", "plan", "web")
	r.says(`is on hold`, "rollout", "pause", "web", "--reason", "wait", "-o", "text")
	r.says(`"state": "Held"`, "rollout", "status", "web")
	r.steer("web", "app:2", func(s *v1alpha1.RolloutSpec) { s.OfflineDevices = "Skip" }) // applied again: the hold stays
	r.says(`"state": "Held"`, "rollout", "status", "web")
	r.says(`web goes on \(`, "rollout", "resume", "web", "-o", "text")
	r.says(`web goes on after batch 1`, "rollout", "promote", "web", "-o", "text")
	r.says(`"state":"Completed"`, "rollout", "status", "web", "-w", "--timeout", "1m")

	// It goes back, stays there, and is tried again.
	r.says(`goes back from revision 2 to 1`, "rollout", "undo", "web", "-o", "text")
	r.exits(7, "rollout", "status", "web", "-w", "--timeout", "1m")
	r.says(`"refused": true`, "rollout", "status", "web")
	r.refuses("NotPossible", "rollout", "promote", "web")
	r.says(`tries revision 2 again`, "rollout", "retry", "web", "-o", "text")
	r.says(`AwaitingApproval`, "rollout", "status", "web")
	r.exits(2, "rollout", "abort", "web")
	r.says(`is aborted`, "rollout", "abort", "web", "--yes", "-o", "text")
	r.exits(8, "rollout", "status", "web", "-w", "--timeout", "1m")
	r.says(`goes back from revision 2 to 1`, "rollout", "undo", "web", "--to-revision", "1", "-o", "text")
	r.exits(7, "rollout", "status", "web", "-w", "--timeout", "1m")
	r.says(`restarts at revision 1`, "rollout", "restart", "web", "-o", "text")
	r.says(`AwaitingApproval`, "rollout", "status", "web")
	r.says(`nothing is judged any more`, "rollout", "promote", "web", "--full", "--yes", "-o", "text")
	r.says(`"state":"Completed"`, "rollout", "status", "web", "-w", "--timeout", "1m")
	r.refuses("UnknownContent", "rollout", "undo", "web", "--to-revision", "9")
	history := r.fleetctl("rollout", "history", "web", "-o", "text")
	for _, want := range []string{"Rollback from 2", "Restart", "superseded|aborted", "refused"} {
		if !matches(want, history) {
			t.Errorf("history does not say %q:\n%s", want, history)
		}
	}
}

// steer gives a Deployment an image and batches with short soaks, the first with
// approval.
func (r *recording) steer(name, image string, change func(*v1alpha1.RolloutSpec)) {
	r.t.Helper()
	c := r.fleet.FleetV1alpha1().Deployments(recordedNamespace)
	d, err := c.Get(r.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	d.Spec.Score.Data = v1alpha1.ScoreData{Services: []v1alpha1.Service{{Name: "web", Image: image}}}
	soak := metav1.Duration{Duration: 100 * time.Millisecond}
	one := size(1)
	d.Spec.Rollout = v1alpha1.RolloutSpec{
		Strategy: v1alpha1.RolloutBatched,
		Batches:  []v1alpha1.RolloutBatch{{Size: &one, Soak: &soak, Approval: eventlog.ApprovalManual}, {Soak: &soak}},
	}
	change(&d.Spec.Rollout)
	if d, err = c.Update(r.t.Context(), d, metav1.UpdateOptions{}); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "the log has it", func() string {
		m, err := reader.LastMessage(r.t.Context(), r.js, eventlog.LogStream, eventlog.DeploymentSubject(recordedNamespace, name))
		if err != nil {
			return err.Error()
		}
		now, err := c.Get(r.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if now.Status.ObservedGeneration != d.Generation || m.Sequence == 0 {
			return fmt.Sprintf("generation %d is observed, %d applied", now.Status.ObservedGeneration, d.Generation)
		}
		return ""
	})
}

// online waits until devices are.
func (r *recording) online(ids ...string) {
	r.t.Helper()
	eventually(r.t, "devices are online", func() string {
		out := r.fleetctl("get", "devices")
		for _, id := range ids {
			if !matches(`(?m)^`+id+` +True`, out) {
				return out
			}
		}
		return ""
	})
}

func size(n int) intstr.IntOrString { return intstr.FromInt(n) }

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

// says waits until a command line of alice ends well and its answer has a match.
func (r *recording) says(pattern string, args ...string) {
	r.t.Helper()
	out, errs, code := r.run(args...)
	if _, reads := map[string]bool{"status": true, "plan": true}[args[1]]; !reads || slices.Contains(args, "-w") {
		if code != cli.ExitOK || !matches(pattern, out) {
			r.t.Fatalf("fleetctl %v: exit code %d, no match for %q\n%s%s", args, code, pattern, out, errs)
		}
		return
	}
	eventually(r.t, fmt.Sprintf("fleetctl %v says %q", args, pattern), func() string {
		out, errs, code = r.run(args...)
		if code != cli.ExitOK || !matches(pattern, out) {
			return fmt.Sprintf("exit code %d\n%s%s", code, out, errs)
		}
		return ""
	})
}

// exits checks the exit code of a command line of alice.
func (r *recording) exits(want int, args ...string) {
	r.t.Helper()
	if out, errs, code := r.run(args...); code != want {
		r.t.Fatalf("fleetctl %v: exit code %d, want %d\n%s%s", args, code, want, out, errs)
	}
}

// refuses checks that the operator refuses a request for a reason.
func (r *recording) refuses(reason string, args ...string) {
	r.t.Helper()
	if out, errs, code := r.run(args...); code != cli.ExitFailed || !strings.Contains(errs, "the operator refused it ("+reason) {
		r.t.Fatalf("fleetctl %v: exit code %d\n%s%s", args, code, out, errs)
	}
}

// run runs a command line as alice.
func (r *recording) run(args ...string) (out, errs string, code int) {
	r.t.Helper()
	var o, e bytes.Buffer
	env := map[string]string{"FLEET_NATS_URL": r.server.URL(), "FLEET_NATS_USER": "alice", "FLEET_NATS_PASSWORD": "p"}
	code = fleetctl.Run(r.t.Context(), cli.Streams{
		Out: &o, Err: &e, Now: time.Now, Name: "fleetctl", Getenv: func(k string) string { return env[k] },
	}, args)
	return o.String(), e.String(), code
}
