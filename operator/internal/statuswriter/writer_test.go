package statuswriter_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/operator/internal/statuswriter"
)

// writes runs a writer in a bubble of time and gives when it wrote.
func writes(t *testing.T, fail func(n int) (time.Duration, error), story func(*statuswriter.Writer[string])) []time.Duration {
	t.Helper()
	var at []time.Duration
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		w := statuswriter.New(time.Second, 4, func(context.Context, string) (time.Duration, error) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(start))
			if fail != nil {
				return fail(len(at))
			}
			return 0, nil
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		begun, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); w.Run(ctx, func() { close(begun) }) }()
		<-begun
		story(w)
		time.Sleep(time.Minute)
		cancel()
		<-done
	})
	return at
}

func TestAtMostOneWriteAnInterval(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tests := map[string]struct {
		fail  func(int) (time.Duration, error)
		story func(*statuswriter.Writer[string])
		want  []time.Duration
	}{
		"the first mark is written at once": {
			story: func(w *statuswriter.Writer[string]) { time.Sleep(300 * ms); w.Mark("a") },
			want:  []time.Duration{300 * ms},
		},
		"a turn that was asked for later waits, where another was in between": {
			fail: func(n int) (time.Duration, error) {
				if n == 1 {
					return 5 * time.Second, nil // the second is asked for at 5 s
				}
				return 0, nil
			},
			story: func(w *statuswriter.Writer[string]) { w.Mark("a"); time.Sleep(4500 * ms); w.Mark("a") },
			want:  []time.Duration{0, 4500 * ms, 5500 * ms},
		},
		"500 marks in a second are two writes, and the second comes after the last mark": {
			story: func(w *statuswriter.Writer[string]) {
				for range 499 {
					w.Mark("a")
					time.Sleep(2 * ms)
				}
				w.Mark("a")
			},
			want: []time.Duration{0, 1000 * ms},
		},
		"a mark half a second after a write waits the other half": {
			story: func(w *statuswriter.Writer[string]) { w.Mark("a"); time.Sleep(500 * ms); w.Mark("a") },
			want:  []time.Duration{0, 1000 * ms},
		},
		"what fails is tried again, later each time": {
			fail: func(n int) (time.Duration, error) {
				if n < 4 {
					return 0, errors.New("no")
				}
				return 0, nil
			},
			story: func(w *statuswriter.Writer[string]) { w.Mark("a") },
			want:  []time.Duration{0, 2000 * ms, 6000 * ms, 14000 * ms},
		},
		"who asks for another turn gets it": {
			fail: func(n int) (time.Duration, error) {
				if n == 1 {
					return time.Millisecond, nil
				}
				return 0, nil
			},
			story: func(w *statuswriter.Writer[string]) { w.Mark("a") },
			want:  []time.Duration{0, 1000 * ms},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, writes(t, tt.fail, tt.story)); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}
