package moments

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func at(sequence uint64) key { return key{logID: "log", sequence: sequence} }

func TestWhoAsksForOneMomentTogetherHasItMadeOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, made := newCache[*Fleet](2, 1), 0
		load := func(context.Context) (*Fleet, error) {
			made++
			time.Sleep(time.Second)
			return &Fleet{}, nil
		}
		got := make(chan *entry[*Fleet], 5)
		for range 5 {
			go func() {
				e, err := c.hold(t.Context(), at(1), time.Now(), load)
				if err != nil {
					t.Error(err)
				}
				got <- e
			}()
		}
		first := <-got
		for range 4 {
			if e := <-got; e != first {
				t.Error("two views of one moment are there")
			}
		}
		if made != 1 {
			t.Errorf("it was made %d times", made)
		}
	})
}

func TestWorkEndsWhenNobodyWaitsForItAnyMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, ended := newCache[*Fleet](2, 1), 0
		load := func(ctx context.Context) (*Fleet, error) {
			<-ctx.Done()
			ended++
			return nil, ctx.Err()
		}
		one, leave := context.WithCancel(t.Context())
		other, leaveToo := context.WithCancel(t.Context())
		for _, ctx := range []context.Context{one, other} {
			go func() {
				if _, err := c.hold(ctx, at(1), time.Now(), load); !errors.Is(err, context.Canceled) {
					t.Errorf("who left gets %v", err)
				}
			}()
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if ended != 0 {
			t.Error("the work ended though a reader waits for it")
		}
		leaveToo()
		synctest.Wait()
		if ended != 1 || len(c.entries) != 0 || len(c.folds) != 0 {
			t.Errorf("the work ended %d times; %d entries and %d folds are left", ended, len(c.entries), len(c.folds))
		}
	})
}

func TestNoMoreViewsAreKeptThanMayBeAndThoseInUseStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, made := newCache[*Fleet](2, 1), map[uint64]int{}
		hold := func(sequence uint64) *entry[*Fleet] {
			e, err := c.hold(t.Context(), at(sequence), time.Now(), func(context.Context) (*Fleet, error) {
				made[sequence]++
				return &Fleet{}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			return e
		}
		used := hold(1)
		for _, sequence := range []uint64{2, 3, 4, 3} {
			c.leave(at(sequence), hold(sequence))
			if len(c.entries) > 2 {
				t.Errorf("%d views are kept, want 2 at most", len(c.entries))
			}
		}
		if hold(1) != used || made[1] != 1 || made[4] != 1 {
			t.Errorf("a view that is in use was forgotten: %v", made)
		}
		c.leave(at(1), used)
		c.leave(at(1), used)
		c.forget(time.Now())
		if len(c.entries) != 0 {
			t.Errorf("%d views that nobody uses are left", len(c.entries))
		}
	})
}

// A view that takes longer than a request may is there for one who asks again; where nobody
// does, the work on it ends.
func TestWorkGoesOnForThoseWhoHadNoMoreTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache[*Fleet](2, 1)
		var began, ended atomic.Int64
		load := func(takes time.Duration) func(context.Context) (*Fleet, error) {
			return func(ctx context.Context) (*Fleet, error) {
				began.Add(1)
				select {
				case <-time.After(takes):
					return &Fleet{}, nil
				case <-ctx.Done():
					ended.Add(1)
					return nil, ctx.Err()
				}
			}
		}
		ask := func(sequence uint64, takes time.Duration) error {
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			e, err := c.hold(ctx, at(sequence), time.Now(), load(takes))
			if err == nil {
				c.leave(at(sequence), e)
			}
			return err
		}
		for range 2 {
			if err := ask(1, 25*time.Second); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnfolded) {
				t.Fatalf("a view that takes 25 s: %v", err)
			}
		}
		if err := ask(1, 25*time.Second); err != nil || began.Load() != 1 {
			t.Errorf("who asks for the third time gets %v; the work was begun %d times", err, began.Load())
		}
		for range 2 {
			_ = ask(2, time.Hour)
		}
		time.Sleep(patience - time.Second)
		synctest.Wait()
		if ended.Load() != 0 {
			t.Error("the work ended before its time")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if ended.Load() != 1 || len(c.entries) != 1 || len(c.folds) != 0 {
			t.Errorf("the work for nobody ended %d times; %d entries and %d folds are left", ended.Load(), len(c.entries), len(c.folds))
		}
	})
}

// Three other moments leave the work alone that a caller had no more time for; a fourth one ends it.
func TestWorkThatNobodyWaitsForMakesRoomForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache[*Fleet](4, 2)
		ended := false
		late, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err := c.hold(late, at(1), time.Now(), func(ctx context.Context) (*Fleet, error) {
			<-ctx.Done()
			ended = true
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		for other := uint64(2); other <= 5; other++ {
			synctest.Wait()
			if ended {
				t.Fatalf("%d other moments end the work", other-2)
			}
			e, err := c.hold(t.Context(), at(other), time.Now(), func(context.Context) (*Fleet, error) { return &Fleet{}, nil })
			if err != nil {
				t.Fatal(err)
			}
			c.leave(at(other), e)
		}
		synctest.Wait()
		if !ended {
			t.Error("four other moments do not end the work")
		}
	})
}

func TestThereAreNeverMoreViewsThanMayBe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const views = 4
		c, most := newCache[*Fleet](views, 2), 0
		load := func(context.Context) (*Fleet, error) {
			time.Sleep(time.Second)
			c.mu.Lock()
			defer c.mu.Unlock()
			most = max(most, len(c.entries))
			return &Fleet{}, nil
		}
		late, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		if _, err := c.hold(late, at(100), time.Now(), load); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err) // a view that is made for nobody counts, too
		}
		var all sync.WaitGroup
		for i := range uint64(8) {
			all.Go(func() {
				leave, err := c.enter(t.Context(), 2)
				if err != nil {
					t.Error(err)
					return
				}
				defer leave()
				for _, k := range []key{at(2 * i), at(2*i + 1)} {
					e, err := c.hold(t.Context(), k, time.Now(), load)
					if err != nil {
						t.Error(err)
						return
					}
					defer c.leave(k, e)
				}
				time.Sleep(time.Second)
			})
		}
		all.Wait()
		if most != views || len(c.entries) != views {
			t.Errorf("there were %d views, and are %d, want %d", most, len(c.entries), views)
		}
	})
}

func TestAMomentThatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	c, broken := newCache[*Fleet](2, 1), errors.New("broken")
	for range 2 {
		if _, err := c.hold(t.Context(), at(1), time.Now(), func(context.Context) (*Fleet, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if len(c.entries) != 0 {
			t.Error("what failed is kept")
		}
	}
}
