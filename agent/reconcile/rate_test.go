package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/agent/reconcile"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
)

// wild is an engine that answers as it likes: what it lists has nothing to do
// with what it was told to do, and it may fail at once, always, by any error.
type wild struct {
	mu     sync.Mutex
	random *rand.Rand
	// listed is what a list shows; shifting lists a new run of it each time.
	listed   []engine.Container
	shifting bool
	fails    map[string]error // by method; none is "done"
	moody    bool             // failures come and go
	chatty   bool             // the feed tells of something all the time
	calls    map[string]int
	limit    int // of one method: above it, the engine answers no more
}

// call counts, and gives the method's answer.
func (w *wild) call(ctx context.Context, method string) error {
	w.mu.Lock()
	w.calls[method]++
	spins := w.calls[method] > w.limit
	err := w.fails[method]
	if w.moody && w.random.IntN(2) == 0 {
		err = nil
	}
	w.mu.Unlock()
	if spins {
		<-ctx.Done() // time stands still while anything spins
		return ctx.Err()
	}
	return err
}

func (w *wild) Info(context.Context) (engine.Info, error) { return engine.Info{Name: "wild"}, nil }

func (w *wild) Observe(ctx context.Context) ([]engine.Container, error) {
	if err := w.call(ctx, "observe"); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []engine.Container
	for _, c := range w.listed {
		if w.shifting && !c.StartedAt.IsZero() {
			c.StartedAt = time.Now()
			if c.State.Ended() {
				c.FinishedAt = time.Now()
			}
		}
		all = append(all, c)
	}
	return all, nil
}

func (w *wild) Pull(ctx context.Context, _ string, _ score.PullPolicy, _ func(string)) error {
	return w.call(ctx, "pull")
}

func (w *wild) Create(ctx context.Context, _ engine.Spec) (string, error) {
	return "new", w.call(ctx, "create")
}
func (w *wild) Start(ctx context.Context, _ string) error  { return w.call(ctx, "start") }
func (w *wild) Stop(ctx context.Context, _ string) error   { return w.call(ctx, "stop") }
func (w *wild) Remove(ctx context.Context, _ string) error { return w.call(ctx, "remove") }

func (w *wild) Exec(ctx context.Context, _ string, _ []string) (engine.ExecResult, error) {
	return engine.ExecResult{}, w.call(ctx, "exec")
}

func (w *wild) Get(ctx context.Context, _ string, _ uint16, _ string) (int, error) {
	return 200, w.call(ctx, "get")
}

func (w *wild) Events(ctx context.Context, notify func(engine.Event)) error {
	if err := w.call(ctx, "events"); err != nil || !w.chatty {
		if err == nil {
			<-ctx.Done()
			err = ctx.Err()
		}
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
			notify(engine.Event{})
		}
	}
}

// counted is a source that counts the turns that asked it.
type counted struct {
	source
	turns int
}

func (c *counted) Desired() ([]plan.Desired, error) {
	c.mu.Lock()
	c.turns++
	c.mu.Unlock()
	return c.source.Desired()
}

// drawWild draws an engine. It is called outside of the bubble, whose clock
// begins at the moment epoch.
func drawWild(t *rapid.T, d plan.Desired) *wild {
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &wild{
		random:   rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)),
		shifting: rapid.Bool().Draw(t, "shifting"), moody: rapid.Bool().Draw(t, "moody"), chatty: rapid.Bool().Draw(t, "chatty"),
		fails: map[string]error{}, calls: map[string]int{}, limit: 5000,
	}
	errs := []*engine.Error{
		{Class: engine.ClassRetry, Reason: engine.ReasonContainerGone, Err: errors.New("no such container")},
		{Class: engine.ClassAway, Reason: engine.ReasonEngineAway, Err: errors.New("connection refused")},
		{Class: engine.ClassRetry, Reason: engine.ReasonPortInUse, Err: errors.New("address in use")},
		{Class: engine.ClassRetry, Reason: engine.ReasonImageNotPresent, Err: errors.New("no such image")},
	}
	for _, method := range []string{"observe", "pull", "create", "start", "stop", "remove", "exec", "get", "events"} {
		fails := rapid.SampledFrom([]bool{false, false, true}).Draw(t, method+" fails")
		if err := rapid.SampledFrom(errs).Draw(t, method); fails {
			w.fails[method] = err
		}
	}
	frequent := []engine.State{engine.StateRunning, engine.StateRunning, engine.StateRunning, engine.StateExited}
	for i, s := range d.Score.Services {
		for range rapid.IntRange(0, 2).Draw(t, "containers") {
			c := engine.Container{
				Identity: engine.Identity{Device: "pi-01", Deployment: "hello", Service: s.Name},
				ID:       fmt.Sprintf("c%d-%d", i, len(w.listed)), Hash: rapid.SampledFrom([]string{s.Hash, "sha256:old"}).Draw(t, "hash"),
				State:    rapid.SampledFrom(append(frequent, engine.States()...)).Draw(t, "state"),
				ExitCode: rapid.SampledFrom([]int{0, 1, 137}).Draw(t, "exit"),
			}
			if !c.State.Unstarted() {
				c.StartedAt = epoch.Add(-time.Hour)
			}
			if c.State.Ended() {
				c.FinishedAt = epoch.Add(-time.Duration(rapid.IntRange(0, 3600).Draw(t, "ended")) * time.Second)
			}
			w.listed = append(w.listed, c)
		}
	}
	return w
}

// keepFor runs a reconciler on the engine for a time, within a bubble, and gives how
// often each method was called and how often the loop turned.
func (w *wild) keepFor(t *testing.T, d plan.Desired, lasts time.Duration) (calls map[string]int, turns int) {
	t.Helper()
	s := &counted{source: source{desired: []plan.Desired{d}, changed: make(chan struct{}, 1)}}
	k, err := reconcile.New(reconcile.Options{
		Device: "pi-01", Engine: w, Source: s, Reports: &reports{states: map[string]eventlog.DeploymentState{}},
		Keeps: &keeps{}, Log: slog.New(slog.DiscardHandler), Clock: time.Now, Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	time.Sleep(lasts)
	synctest.Wait()
	w.mu.Lock()
	calls, w.calls = w.calls, map[string]int{}
	w.mu.Unlock()
	s.mu.Lock()
	turns = s.turns
	s.mu.Unlock()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return calls, turns
}

// A list that shows a container which every check finds gone is asked for again
// and again, but neither it nor the check in a rush, and the check's own rhythm
// holds.
func TestACheckThatCannotBeMadeKeepsItsRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := assigned(`{"healthCheck":{"exec":["/ok"],"interval":"1s"},"image":"a","name":"web"}`)
		w := &wild{
			fails: map[string]error{"exec": errGone}, calls: map[string]int{}, limit: 5000,
			listed: []engine.Container{{
				Identity: engine.Identity{Device: "pi-01", Deployment: "hello", Service: "web"}, ID: "c1",
				Hash: d.Score.Services[0].Hash, State: engine.StateRunning, StartedAt: time.Now(),
			}},
		}
		calls, _ := w.keepFor(t, d, 15*time.Second)
		if n := calls["exec"]; n < 10 || n > 16 {
			t.Errorf("%d checks in 15 s, want one each second", n)
		}
		if n := calls["observe"]; n < 10 || n > 40 {
			t.Errorf("%d looks in 15 s, want one or two for each check", n)
		}
	})
}

// However the engine answers and whatever is desired, the reconciler turns at most
// 20 times a second, looks at most 4 times a second, works on a service at most
// 12 times a minute (each after a burst), and checks the same run of a container
// no more often than the score says. And it goes on looking.
func TestNoEngineMakesTheReconcilerSpin(t *testing.T) {
	t.Parallel()
	const lasts = 30 * time.Second
	rapid.Check(t, func(rt *rapid.T) {
		interval := rapid.SampledFrom([]string{"100ms", "1s", "10s"}).Draw(rt, "interval")
		kind := rapid.SampledFrom([]string{`"exec":["/ok"]`, `"http":{"port":80}`}).Draw(rt, "kind")
		policy := rapid.SampledFrom([]string{"Always", "OnFailure", "Never"}).Draw(rt, "policy")
		d := assigned(fmt.Sprintf(`{"healthCheck":{%s,"interval":%q},"image":"a","name":"web","restartPolicy":%q}`, kind, interval, policy), service("db", "b"))
		if rapid.IntRange(0, 9).Draw(rt, "withdrawn") == 9 {
			d = plan.Withdrawn("hello")
		}
		w := drawWild(rt, d)
		synctest.Test(t, func(t *testing.T) {
			calls, turns := w.keepFor(t, d, lasts)
			seconds := int(lasts / time.Second)
			atMost := func(what string, n, most int) {
				if n > most {
					rt.Errorf("%d %s in %s, want at most %d", n, what, lasts, most)
				}
			}
			atMost("turns", turns, 20*seconds+1)
			atMost("looks", calls["observe"], 10+4*seconds)
			if calls["observe"] < seconds/10 {
				rt.Errorf("%d looks in %s: it went blind", calls["observe"], lasts)
			}
			works := len(d.Score.Services)*(10+seconds/5) + len(w.listed)*(10+seconds/5)
			for _, step := range []string{"pull", "create", "start"} {
				atMost(step+" steps", calls[step], works)
			}
			for _, step := range []string{"stop", "remove"} { // a chain may remove two
				atMost(step+" steps", calls[step], 2*works)
			}
			every, _ := time.ParseDuration(interval)
			checks := int(lasts / min(every, time.Second))
			if w.shifting { // each look shows another run, whose first check is due
				checks = 20 * seconds
			}
			atMost("checks", calls["exec"]+calls["get"], checks+2)
			atMost("feeds", calls["events"], seconds/5+10)
		})
	})
}
