package moments

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
)

func happenedAt(sequence, known uint64) key {
	return key{logID: "log", sequence: sequence, known: known}
}

// A fold of the whole log that takes minutes is shown to those who ask again, though the log has
// grown each time.
func TestAMomentAsItHappenedIsMadeOnceHoweverMuchTheLogGrowsMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, end := newCache[*Fleet](4, 2), uint64(100)
		defer c.forget(time.Now().Add(time.Hour))
		var began atomic.Int64
		load := func(ctx context.Context) (*Fleet, error) {
			began.Add(1)
			select {
			case <-time.After(5 * time.Minute):
				return &Fleet{}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		ask := func() (*entry[*Fleet], error) {
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			end++
			e, err := c.hold(ctx, happenedAt(7, end), time.Now(), load)
			if err == nil {
				c.leave(e.key, e)
			}
			return e, err
		}
		var first *entry[*Fleet]
		for tries := 0; first == nil && tries < 20; tries++ {
			e, err := ask()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			first = e
			time.Sleep(20 * time.Second)
		}
		if first == nil || began.Load() != 1 {
			t.Fatalf("who asks again and again is shown %v; the work was begun %d times", first, began.Load())
		}
		time.Sleep(lateFor - 30*time.Second)
		if e, err := ask(); e != first {
			t.Errorf("within a minute it is another one: %v", err)
		}
		time.Sleep(30 * time.Second)
		if e, err := c.hold(t.Context(), first.key, time.Now(), load); e != first {
			t.Errorf("of a log that did not grow it is another one: %v", err)
		} else {
			c.leave(e.key, e)
		}
		if e, err := ask(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after a minute it is %v, %v", e, err)
		}
		synctest.Wait()
		if began.Load() != 2 || len(c.entries) != 1 {
			t.Errorf("it was begun %d times, and %d views are kept", began.Load(), len(c.entries))
		}
	})
}

func TestWhatTheLogKnewAndWhatHappenedAreTwoMoments(t *testing.T) {
	t.Parallel()
	c := newCache[*Fleet](4, 2)
	different := map[*entry[*Fleet]]bool{}
	for _, k := range []key{at(7), happenedAt(7, 9), happenedAt(8, 9), {logID: "log", sequence: 7, clock: 1, known: 9}} {
		e, err := c.hold(t.Context(), k, time.Now(), func(context.Context) (*Fleet, error) { return &Fleet{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		different[e] = true
	}
	if len(different) != 4 {
		t.Errorf("four moments have %d views", len(different))
	}
}

// A moment as it happened takes two views while it is made, so one is made at a time. Those that wait
// for that keep no moment as the log knew it waiting.
func TestOneMomentIsMadeAsItHappenedAtATimeAndOthersDoNotWaitForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache[*Fleet](4, 2)
		var whole, most, made atomic.Int64
		load := func(ctx context.Context) (*Fleet, error) {
			most.Store(max(most.Load(), whole.Add(1)))
			defer whole.Add(-1)
			select {
			case <-time.After(time.Hour):
				made.Add(1)
				return &Fleet{}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		ask := func(ctx context.Context, sequence uint64) {
			e, err := c.hold(ctx, happenedAt(sequence, 9), time.Now(), load)
			if err == nil {
				c.leave(e.key, e)
			}
		}
		first, leaveFirst := context.WithCancel(t.Context())
		second, leaveSecond := context.WithCancel(t.Context())
		go ask(first, 1)
		synctest.Wait()
		go ask(second, 2)
		synctest.Wait()
		go ask(t.Context(), 3)
		synctest.Wait()
		began := time.Now()
		e, err := c.hold(t.Context(), at(1), began, func(context.Context) (*Fleet, error) { return &Fleet{}, nil })
		if err != nil || time.Since(began) > 0 {
			t.Fatalf("a moment as the log knew it is there after %v: %v", time.Since(began), err)
		}
		c.leave(e.key, e)
		leaveSecond() // it waits for the first one
		leaveFirst()
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if most.Load() != 1 || made.Load() != 1 {
			t.Errorf("%d were made at a time, want 1; %d of which one asked to the end were made", most.Load(), made.Load())
		}
		if len(c.folds)+len(c.whole) != 0 {
			t.Errorf("%d and %d turns are not given back", len(c.folds), len(c.whole))
		}
	})
}

// Whoever asks what happened while another one waits for that has it with the other one.
func TestTwoWhoAskWhatHappenedWhileTheLogGrowsHaveOneFoldOfIt(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	life := asoftest.NewLife(t, js, 7)
	life.Append(50)
	m := New(Options{JS: js, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	for range cap(m.past.folds) {
		m.past.folds <- struct{}{} // none begins yet
	}
	got := make(chan error, 2)
	for n := range 2 {
		go func() {
			got <- m.At(t.Context(), Moment{Moment: asof.Moment{Sequence: 20}, Happened: true}, func(Fleet) {})
		}()
		for deadline := time.Now().Add(time.Minute); waiting(m.past) <= n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nobody waits within a minute")
			}
		}
		life.Append(1)
	}
	if n := len(m.past.entries); n != 1 {
		t.Errorf("%d folds are about to begin", n)
	}
	for range cap(m.past.folds) {
		<-m.past.folds
	}
	for range 2 {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
}

// waiting is how many callers wait.
func waiting(c *cache[*Fleet]) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		n += e.waiting
	}
	return n
}
