package decider_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/projections/fleet"
)

// log folds what was appended only when the fold is waited for, as a fold lags
// behind its log. It fails as it is told to.
type log struct {
	mu     sync.Mutex
	state  *decide.State
	fails  []error
	refuse func(eventlog.Draft) error // what the log does not take of a draft
	rounds [][]string
	seq    uint64
	behind []eventlog.Event // appended and not folded
}

// maxAppends is more than any of these stories takes: a decider that says the same
// again and again fails and does not hang.
const maxAppends = 100

func (l *log) Do(fn func(*decide.State)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn(l.state)
}

func (l *log) WaitFor(_ context.Context, sequence uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.behind) > 0 && l.behind[0].Sequence <= sequence {
		fleet.Apply(l.state.View(), l.behind[0], nil)
		l.behind = l.behind[1:]
	}
	return nil
}

// was appends what is in the log before a story begins.
func (l *log) was(t *testing.T, drafts ...eventlog.Draft) {
	t.Helper()
	last, err := l.Append(t.Context(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.WaitFor(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	l.rounds = nil
}

func (l *log) Append(_ context.Context, drafts []eventlog.Draft) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fails) > 0 {
		err := l.fails[0]
		l.fails = l.fails[1:]
		if err != nil {
			return 0, err
		}
	}
	if len(l.rounds) >= maxAppends {
		return 0, fmt.Errorf("%d appends: the decider does not come to an end", maxAppends)
	}
	for _, d := range drafts {
		if l.refuse != nil {
			if err := l.refuse(d); err != nil {
				return 0, err
			}
		}
	}
	var round []string
	for _, d := range drafts {
		l.seq++
		m := d.Message("test", "ID")
		e, err := eventlog.Decode(m.Subject, m.Header, m.Data, l.seq, time.Now())
		if err != nil {
			return 0, err
		}
		l.behind = append(l.behind, e)
		round = append(round, string(d.Type)+" "+strings.TrimPrefix(d.Subject, "fleet.evt."))
	}
	l.rounds = append(l.rounds, round)
	return l.seq, nil
}

// decideAll runs a decider until nothing is due, for a minute at most. refused is when
// the log was full; the first time, room is made.
func decideAll(t *testing.T, l *log, awaitingFinalizer bool, ins ...decider.Input) (rounds [][]string, refused []time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		d, queue := newDecider(l, awaitingFinalizer)
		o := &observer{full: func() bool {
			refused = append(refused, time.Since(begun))
			return len(refused) == 1
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx, l, o, func() { queue.Add(ins...) }) }()
		time.Sleep(time.Minute)
		cancel()
		err = <-done
	})
	return l.rounds, refused, err
}

func labelled(ids ...string) *log {
	l := &log{state: decide.NewState(fleet.New())}
	for _, id := range ids {
		l.state.SetDevice(id, map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: "device"}})
	}
	return l
}

func TestEachRoundIsOneAppendUntilNothingIsDue(t *testing.T) {
	t.Parallel()
	l := labelled("a", "b")
	spec := deployment()
	l.state.SetDeployment(spec)
	rounds, _, err := decideAll(t, l, false,
		decider.Input{Input: decide.OfDevice("a")}, decider.Input{Input: decide.OfDevice("b")}, decider.Input{Input: decide.OfDeployment(spec.Key)})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"device.relabeled device.a", "device.relabeled device.b", "deployment.applied deployment.shop.web"},
		{"desired.assigned desired.a.web", "desired.assigned desired.b.web"}, // once each, though both ask
		{"rollout.started deployment.shop.web"},
	}
	if len(rounds) < 2 {
		t.Fatalf("rounds: %v", rounds)
	}
	if diff := cmp.Diff(want[0], rounds[0]); diff != "" {
		t.Errorf("first round (-want +got):\n%s", diff)
	}
	assigned := map[string]int{}
	for _, r := range rounds[1:] {
		for _, e := range r {
			assigned[e]++
		}
	}
	for _, e := range want[1] {
		if assigned[e] != 1 {
			t.Errorf("%q said %d times, want once; rounds: %v", e, assigned[e], rounds)
		}
	}
	if !l.state.Placed(spec.Key) {
		t.Error("not marked as placed")
	}
}

func TestAFullLogIsTriedAgainAtOnceWhereRoomWasMadeAndElseLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	l := labelled("a")
	l.fails = []error{appender.ErrLogFull, appender.ErrLogFull, appender.ErrLogFull, nil}
	rounds, refused, err := decideAll(t, l, false, decider.Input{Input: decide.OfDevice("a")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"device.relabeled device.a"}}, rounds); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]time.Duration{0, 0, 5 * time.Second}, refused); diff != "" {
		t.Errorf("refused at (-want +got):\n%s", diff)
	}
}

func TestARevocationGoesBeforeAllElse(t *testing.T) {
	t.Parallel()
	l := labelled("a", "b")
	for range fleet.TrafficBurst>>20 + 1 {
		l.was(t, eventlog.Draft{Subject: eventlog.AgentSubject("b"), Type: eventlog.AgentStarted, Data: make([]byte, 1<<20)})
	}
	rounds, _, err := decideAll(t, l, false, decider.Input{Input: decide.OfDevice("a")}, decider.Input{Input: decide.OfDevice("b")})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"access.revoked access.b", "device.relabeled device.a"}, {"device.relabeled device.b"}}
	if diff := cmp.Diff(want, rounds); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
}

func TestADeposedLeaderEnds(t *testing.T) {
	t.Parallel()
	l := labelled("a")
	l.fails = []error{appender.ErrDeposed}
	if _, _, err := decideAll(t, l, false, decider.Input{Input: decide.OfDevice("a")}); !errors.Is(err, appender.ErrDeposed) {
		t.Errorf("error %v, want ErrDeposed", err)
	}
}

func TestACRThatWaitsForItsFinalizerIsNoOrphan(t *testing.T) {
	t.Parallel()
	for _, withheld := range []bool{true, false} {
		l := labelled()
		spec := deployment()
		l.state.SetDeployment(spec)
		if _, _, err := decideAll(t, l, false, decider.Input{Input: decide.OfDeployment(spec.Key)}); err != nil {
			t.Fatal(err)
		}
		l.state.RemoveDeployment(spec.Key)
		l.rounds = nil
		rounds, _, err := decideAll(t, l, withheld, decider.Input{Input: decide.OfDeployment(spec.Key)})
		if err != nil {
			t.Fatal(err)
		}
		if orphaned := len(rounds) > 0; orphaned == withheld {
			t.Errorf("withheld %v: orphaned %v", withheld, orphaned)
		}
	}
}

func TestAPresenceIsRecordedOnce(t *testing.T) {
	t.Parallel()
	l := labelled("a")
	d, err := eventlog.NewDraft(eventlog.DeviceSubject("a"), eventlog.DeviceRegistered, time.Now(), eventlog.Registration{})
	if err != nil {
		t.Fatal(err)
	}
	l.was(t, d)
	rounds, _, err := decideAll(t, l, false, decider.Input{Presence: "a"}, decider.Input{Input: decide.OfDevice("a")})
	if err != nil {
		t.Fatal(err)
	}
	// Both speak on the device's subject, so they take a round each.
	if diff := cmp.Diff([][]string{{"device.online device.a"}, {"device.relabeled device.a"}}, rounds); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
}

// InitialPassDone is called once, after all that was asked at the beginning has nothing
// more due, the full log's pause included; not before, whatever else is asked.
func TestTheInitialPassIsDoneOnceAllThatWasAskedIsSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := labelled("a", "b")
		l.fails = []error{nil, appender.ErrLogFull}
		spec := deployment()
		l.state.SetDeployment(spec)
		begun := time.Now()
		var at []int
		var after time.Duration
		failure := errors.New("not noted")
		d, queue := newDecider(l, false)
		err := d.Run(t.Context(), l, &observer{initialPassDone: func() error {
			l.mu.Lock()
			defer l.mu.Unlock()
			at, after = append(at, len(l.rounds)), time.Since(begun)
			return failure
		}}, func() {
			queue.AddDeployment(spec.Key)
			queue.AddDevices("a", "b")
		})
		if !errors.Is(err, failure) {
			t.Errorf("run ended with %v", err)
		}
		if len(at) != 1 || at[0] != len(l.rounds) || at[0] < 2 || after < 5*time.Second {
			t.Errorf("done after %v rounds, %v; there are %v", at, after, l.rounds)
		}
	})
}

func TestTheInitialPassIsDoneAtOnceWhereNothingIsAsked(t *testing.T) {
	t.Parallel()
	done := errors.New("done")
	l := labelled()
	d, _ := newDecider(l, false)
	if err := d.Run(t.Context(), l, &observer{initialPassDone: func() error { return done }}, func() {}); !errors.Is(err, done) {
		t.Errorf("%v", err)
	}
}

// While a CR waits for its finalizer nobody knows what follows from it: a restored
// log is not held against the cluster yet. One that never gets it does not keep
// all devices waiting for ever.
func TestTheInitialPassWaitsForFinalizersForHalfAMinute(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ finalizer, done time.Duration }{
		"until the CR has its finalizer": {finalizer: 5 * time.Second, done: 5 * time.Second},
		"for half a minute at most":      {finalizer: time.Hour, done: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, spec, begun := labelled("a"), deployment(), time.Now()
				var at []time.Duration
				rounds := 0
				d, queue := newDecider(l, true)
				o := &observer{initialPassDone: func() error {
					l.mu.Lock()
					defer l.mu.Unlock()
					at, rounds = append(at, time.Since(begun)), len(l.rounds)
					return nil
				}}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- d.Run(ctx, l, o, func() { queue.AddDeployment(spec.Key) }) }()
				time.Sleep(min(tt.finalizer, time.Minute))
				l.Do(func(s *decide.State) { s.SetDeployment(spec) })
				queue.AddDeployment(spec.Key)
				time.Sleep(time.Minute)
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if len(at) != 1 || at[0].Round(time.Second) != tt.done || (rounds > 0) != (tt.finalizer < time.Minute) {
					t.Errorf("done at %v, after %d rounds; want it at %s", at, rounds, tt.done)
				}
			})
		})
	}
}
