package decider_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
)

// gated is a log whose Deployment shop/web has one batch, whose device is through and
// whose gates have yet to be answered.
func gated(t *testing.T, ctx context.Context, l *log, gates string) (decide.Spec, *decider.Queue) {
	t.Helper()
	cr := &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1", Generation: 1},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab"}},
			Score:          v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{Name: "web", Image: "nginx:1.27"}}}},
		},
	}
	if err := json.Unmarshal([]byte(`{"batches": [{"soak": "0s", "gates": `+gates+`}]}`), &cr.Spec.Rollout); err != nil {
		t.Fatal(err)
	}
	spec := decide.SpecOf(cr)
	draft := func(subject string, typ eventlog.Type, payload any) eventlog.Draft {
		d, err := eventlog.NewDraft(subject, typ, time.Now(), payload)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	l.was(t, draft(eventlog.InfoSubject("a"), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: "a"}))
	d, queue := newDecider(l, false)
	done := make(chan error, 1)
	go func() {
		done <- d.Run(ctx, l, &observer{full: func() bool { return false }}, func() { queue.AddDevices("a") })
	}()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	queue.AddPresence("a")
	synctest.Wait()
	l.Do(func(s *decide.State) { s.SetDeployment(spec) })
	queue.AddDeployment(spec.Key)
	synctest.Wait()
	hash := ""
	l.Do(func(s *decide.State) {
		for p := range s.View().Devices["a"].Assignments {
			hash = p.Desired.Hash
		}
	})
	l.was(t, draft(eventlog.StateSubject("a", "web"), eventlog.StateReported,
		eventlog.DeploymentState{DeviceID: "a", Deployment: "web", Phase: eventlog.PhaseRunning, ScoreHash: hash}))
	queue.AddProgress(spec.Key)
	synctest.Wait()
	if len(l.rounds) > 0 {
		t.Fatalf("before the gates are answered: %v", l.rounds)
	}
	return spec, queue
}

func (l *log) questions() (qs []decide.Question) {
	l.Do(func(s *decide.State) { qs = s.Questions() })
	return qs
}

func TestABatchGoesOnInTheRoundAfterItsGatesAreAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := labelled("a")
		_, queue := gated(t, ctx, l, `[
			{"name": "errors", "prometheus": {"server": "main", "query": "errors", "max": "1", "for": "0s"}},
			{"name": "up", "prometheus": {"server": "main", "query": "up", "min": "1", "for": "0s"}}]`)
		qs := l.questions()
		if len(qs) != 2 {
			t.Fatalf("questions %+v", qs)
		}
		stale := qs[0]
		stale.Run++
		queue.AddAnswer(decide.Answer{Question: stale, Value: 1}) // of another run: nothing follows
		synctest.Wait()
		l.Do(func(*decide.State) {
			for _, q := range qs { // both in one round
				queue.AddAnswer(decide.Answer{Question: q, Value: 1})
			}
		})
		synctest.Wait()
		cancel()
		web := " deployment.shop.web"
		want := [][]string{
			{"rollout.gate_measured" + web}, {"rollout.gate_measured" + web}, // on one subject, so one after the other
			{"rollout.batch_succeeded" + web}, {"rollout.completed" + web},
		}
		if diff := cmp.Diff(want, l.rounds); diff != "" {
			t.Errorf("rounds (-want +got):\n%s", diff)
		}
	})
}

func TestAnAnswerThatAFullLogDidNotTakeIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := labelled("a")
		_, queue := gated(t, ctx, l, `[{"name": "errors", "prometheus": {"server": "main", "query": "errors", "max": "1", "for": "1h"}}]`)
		l.Do(func(*decide.State) { l.fails = []error{appender.ErrLogFull} })
		queue.AddAnswer(decide.Answer{Question: l.questions()[0], Value: 1})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(l.rounds) != 0 {
			t.Errorf("a minute later: %v", l.rounds)
		}
		queue.AddAnswer(decide.Answer{Question: l.questions()[0], Value: 1})
		synctest.Wait()
		cancel()
		if diff := cmp.Diff([][]string{{"rollout.gate_measured deployment.shop.web"}}, l.rounds); diff != "" {
			t.Errorf("the next answer (-want +got):\n%s", diff)
		}
	})
}
