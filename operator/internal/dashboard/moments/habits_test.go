package moments

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fleet.nationtech.io/projections/attention"
)

// asked asks servers that answer by a test, until the test ends.
func asked(t *testing.T, habits func(context.Context, time.Time) (map[string]time.Duration, error)) *servers {
	t.Helper()
	m := New(Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	s, began := newServers(), time.Now()
	ctx, stop := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() {
		m.ask(ctx, s, questions{
			look: func(context.Context) (attention.Facts, time.Duration, error) {
				return attention.Facts{Log: &attention.LogSize{Bytes: uint64(time.Since(began))}}, 2 * time.Hour, nil // the log tells when it was looked at
			},
			habits: habits,
		})
	})
	t.Cleanup(func() {
		stop()
		asking.Wait()
	})
	return s
}

// What a page says of log and buckets is half a minute old at most, however long a month of the
// devices' events takes to read.
func TestTheServersAreAskedHowTheyAreWhileHabitsAreRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := asked(t, func(ctx context.Context, _ time.Time) (map[string]time.Duration, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		time.Sleep(14 * time.Minute)
		synctest.Wait()
		f, _ := s.told()
		if age := 14*time.Minute - time.Duration(f.Log.Bytes); age > presentEvery {
			t.Errorf("what is known of the log is %v old", age)
		}
	})
}

// Servers that cannot give a month of events are not asked for it each second, and have a look at
// log and buckets all the same.
func TestHabitsThatCannotBeReadAreAskedForLessAndLessOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Duration
		began, broken := time.Now(), errors.New("broken")
		s := asked(t, func(_ context.Context, clock time.Time) (map[string]time.Duration, error) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(began))
			if ahead := time.Until(clock); ahead != 2*time.Hour {
				t.Errorf("a month is read up to %v from now, want the servers' time", ahead)
			}
			return map[string]time.Duration{"pi": time.Hour}, broken
		})
		reads := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(at)
		}
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		f, _ := s.told()
		if age := time.Hour - time.Duration(f.Log.Bytes); age > presentEvery || f.Habits != nil {
			t.Errorf("what is known of the log is %v old; habits %v", age, f.Habits)
		}
		mu.Lock()
		if len(at) > 25 || at[1]-at[0] > time.Second {
			t.Errorf("a month is read at %v", at)
		}
		broken = nil
		mu.Unlock()
		time.Sleep(habitsRetry)
		synctest.Wait()
		if f, _ := s.told(); f.Habits["pi"] != time.Hour {
			t.Errorf("once it can be read again the habits are %v", f.Habits)
		}
		before := reads()
		time.Sleep(habitsEvery)
		synctest.Wait()
		if n := reads() - before; n != 1 {
			t.Errorf("within an hour after it was read, it is read %d times", n)
		}
	})
}
