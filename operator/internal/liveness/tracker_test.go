package liveness_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/projections/fleet"
)

const interval = 30 * time.Second

// source is heard by a test: it pulses when told to.
type source struct {
	pulse     func(string)
	say       func(string, []byte)
	connected func(bool)
	ready     chan struct{}
}

func (e *source) Subscribe(ctx context.Context, pulse func(string, []byte), connected func(bool)) error {
	e.pulse, e.say, e.connected = func(device string) { pulse(device, nil) }, pulse, connected
	connected(true)
	close(e.ready)
	<-ctx.Done()
	return nil
}

// heard runs a monitor in a bubble of time and collects its turns as
// "<seconds> <device> <verdict>".
func heard(t *testing.T, story func(*source, *liveness.Monitor)) []string {
	t.Helper()
	var mu sync.Mutex
	var got []string
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := &source{ready: make(chan struct{})}
		var m *liveness.Monitor
		m = liveness.NewMonitor(e, interval, func(ids []string) {
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				got = append(got, fmt.Sprintf("%.0fs %s %s", time.Since(start).Seconds(), id, m.Verdict(id).Online))
			}
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		<-e.ready
		story(e, m)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return got
}

func pulseFor(e *source, id string, d time.Duration) {
	for range int(d / interval) {
		e.pulse(id)
		time.Sleep(interval)
	}
}

func TestTurns(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		story func(*source, *liveness.Monitor)
		want  []string
	}{
		"online with the first pulse, and nothing is said while it goes on": {
			story: func(e *source, _ *liveness.Monitor) { pulseFor(e, "a", 10*time.Minute) },
			want:  []string{"0s a Online"},
		},
		"offline after three intervals of silence": {
			story: func(e *source, _ *liveness.Monitor) { e.pulse("a"); time.Sleep(5 * time.Minute) },
			want:  []string{"0s a Online", "90s a Offline"},
		},
		"one that the log calls online and that is silent goes offline after the grace": {
			story: func(_ *source, m *liveness.Monitor) {
				m.Know("a", fleet.Presence{Online: fleet.OnlineTrue})
				time.Sleep(2 * time.Minute)
			},
			want: []string{"90s a Offline"},
		},
		"one that has only info goes offline after the grace": {
			story: func(_ *source, m *liveness.Monitor) {
				m.Know("a", fleet.Presence{})
				time.Sleep(2 * time.Minute)
			},
			want: []string{"90s a Offline"},
		},
		"one that the log calls offline stays so until it pulses": {
			story: func(e *source, m *liveness.Monitor) {
				m.Know("a", fleet.Presence{Online: fleet.OnlineFalse})
				time.Sleep(20 * time.Minute)
				e.pulse("a")
			},
			want: []string{"1200s a Online"},
		},
		"a return within ten minutes doubles the next timeout": {
			story: func(e *source, _ *liveness.Monitor) {
				e.pulse("a")                  // timeout 90 s
				time.Sleep(100 * time.Second) // offline at 90
				e.pulse("a")                  // timeout 180 s
				time.Sleep(200 * time.Second) // offline at 280
				e.pulse("a")                  // 300 s: timeout 300 s, not 360
				time.Sleep(400 * time.Second) // offline at 600
			},
			want: []string{"0s a Online", "90s a Offline", "100s a Online", "280s a Offline", "300s a Online", "600s a Offline"},
		},
		"steady for ten minutes, the timeout is short again": {
			story: func(e *source, _ *liveness.Monitor) {
				e.pulse("a")
				time.Sleep(100 * time.Second)
				pulseFor(e, "a", 11*time.Minute) // last pulse at 730 s
				time.Sleep(2 * time.Minute)
			},
			want: []string{"0s a Online", "90s a Offline", "100s a Online", "820s a Offline"},
		},
		"a return after more than ten minutes is not flapping": {
			story: func(e *source, _ *liveness.Monitor) {
				e.pulse("a")
				time.Sleep(800 * time.Second)
				e.pulse("a")
				time.Sleep(100 * time.Second)
			},
			want: []string{"0s a Online", "90s a Offline", "800s a Online", "890s a Offline"},
		},
		"while the connection is away silence means nothing, and after it a whole timeout is waited": {
			story: func(e *source, _ *liveness.Monitor) {
				e.pulse("a")
				time.Sleep(time.Minute)
				e.connected(false)
				time.Sleep(10 * time.Minute)
				e.connected(true) // 660 s
				time.Sleep(2 * time.Minute)
			},
			want: []string{"0s a Online", "750s a Offline"},
		},
		"who gains leadership listens for a whole timeout first": {
			story: func(e *source, m *liveness.Monitor) {
				e.pulse("a")
				time.Sleep(80 * time.Second)
				m.Listen()
				time.Sleep(2 * time.Minute)
			},
			want: []string{"0s a Online", "170s a Offline"},
		},
		"one that is forgotten is not spoken of": {
			story: func(e *source, m *liveness.Monitor) {
				e.pulse("a")
				m.Forget("a")
				time.Sleep(5 * time.Minute)
			},
			want: []string{"0s a Online"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, heard(t, tt.story)); diff != "" {
				t.Errorf("turns (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoDeviceIsOfflineBeforeItsWholeTimeoutWasListened(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Unix(0, 0)
		tr := liveness.NewTracker(interval, now)
		tr.Listen(now)
		listening := now
		heard := map[string]time.Time{}
		disconnected := false
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 60_000).Draw(rt, "ms")) * time.Millisecond)
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "device")
			switch rapid.IntRange(0, 5).Draw(rt, "do") {
			case 0:
				tr.Pulse(id, now)
				heard[id] = now
			case 1:
				tr.Know(id, fleet.Presence{Online: fleet.OnlineTrue}, now)
			case 2:
				tr.Listen(now)
				listening, disconnected = now, false
			case 3:
				tr.Disconnected()
				disconnected = true
			default:
				for _, off := range tr.Expire(now) {
					if disconnected {
						rt.Fatalf("%s found offline by a tracker that is disconnected", off)
					}
					from := listening
					if heard[off].After(from) {
						from = heard[off]
					}
					if v := tr.Verdict(off); now.Sub(from) < v.Timeout || v.Timeout < 3*interval {
						rt.Fatalf("%s found offline after %s of silence, its timeout is %s", off, now.Sub(from), v.Timeout)
					}
				}
			}
		}
		// Silence at last makes everybody offline.
		tr.Listen(now)
		var ids []string
		for range 400 {
			now = now.Add(time.Second)
			ids = append(ids, tr.Expire(now)...)
		}
		for _, id := range []string{"a", "b", "c"} {
			if v := tr.Verdict(id); v != (decide.Verdict{}) && v.Online != fleet.OnlineFalse {
				rt.Fatalf("%s is %q after 400 s of silence; turned: %v", id, v.Online, slices.Sorted(slices.Values(ids)))
			}
		}
	})
}

// A process that was stopped, or a machine that stood still, has heard nothing
// meanwhile; the pulses wait to be read.
func TestAStalledTrackerFindsNoDeviceOffline(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	tr := liveness.NewTracker(interval, now)
	tr.Listen(now)
	tr.Pulse("a", now)
	expire := func(after time.Duration) []string {
		now = now.Add(after)
		return tr.Expire(now)
	}
	expire(time.Second)
	if off := expire(10 * time.Minute); off != nil {
		t.Errorf("offline after ten minutes in which nobody listened: %v", off)
	}
	for range 80 {
		if off := expire(time.Second); off != nil {
			t.Errorf("offline before a whole timeout was listened: %v", off)
		}
	}
	for range 15 {
		expire(time.Second)
	}
	if v := tr.Verdict("a"); v.Online != fleet.OnlineFalse {
		t.Errorf("%q after a whole timeout of silence", v.Online)
	}
}

// An identity that several devices share may pulse for any name: the names that
// the log does not know take little memory, and keep no device from being watched.
func TestNamesThatOnlyPulseAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tr := liveness.NewTracker(interval, now)
	tr.Listen(now)
	watched := 0
	for i := range 20_000 {
		id := fmt.Sprint("stranger-", i)
		tr.Pulse(id, now)
		if tr.Verdict(id) != (decide.Verdict{}) {
			watched++
		}
	}
	if watched == 0 || watched > 5000 {
		t.Errorf("%d names are watched that only pulse, want some, and at most 5000", watched)
	}
	tr.Know("pi-01", fleet.Presence{}, now)
	if !tr.Pulse("pi-01", now) || tr.Verdict("pi-01").Online != fleet.OnlineTrue {
		t.Error("a device that the log knows is not watched")
	}
	for i := range 5000 { // strangers that become known make room
		tr.Know(fmt.Sprint("stranger-", i), fleet.Presence{}, now)
	}
	if tr.Pulse("late", now); tr.Verdict("late").Online != fleet.OnlineTrue {
		t.Error("there is room for no other stranger, though the log knows those before it")
	}
}

func BenchmarkPulse(b *testing.B) {
	now := time.Now()
	tr := liveness.NewTracker(interval, now)
	tr.Listen(now)
	ids := make([]string, 100_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("pi-%d", i)
	}
	for i := 0; b.Loop(); i++ {
		tr.Pulse(ids[i%len(ids)], now)
	}
}

// A device that left the fleet may go on pulsing; no verdict follows from that
// until the log knows it again.
func TestThePulseOfADeviceThatLeftMeansNothing(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	tr := liveness.NewTracker(interval, now)
	tr.Listen(now)
	tr.Pulse("a", now)
	tr.Leave("a")
	if tr.Pulse("a", now.Add(time.Second)) || tr.Verdict("a") != (decide.Verdict{}) {
		t.Errorf("its pulse is heard: %+v", tr.Verdict("a"))
	}
	for n := range 300 {
		if off := tr.Expire(now.Add(time.Duration(n) * time.Second)); off != nil {
			t.Errorf("offline: %v", off)
		}
	}
	tr.Forget("a") // it is allowed again
	if !tr.Pulse("a", now.Add(time.Hour)) || tr.Verdict("a").Online != fleet.OnlineTrue {
		t.Errorf("allowed again, its pulse is not heard: %+v", tr.Verdict("a"))
	}
}
