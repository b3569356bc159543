package moments_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

// start follows a log until the test ends.
func start(t *testing.T, js jetstream.JetStream, views int) *moments.Moments {
	t.Helper()
	m := moments.New(moments.Options{JS: js, Logger: slog.New(slog.DiscardHandler), Now: time.Now, Views: views})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return m
}

func life(t *testing.T, events int) jetstream.JetStream {
	t.Helper()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	asoftest.NewLife(t, js, 7).Append(events)
	return js
}

func TestNeighboursAreWhatALookAtEachEventFinds(t *testing.T) {
	t.Parallel()
	const events = 300
	js := life(t, events)
	follows := start(t, js, 1)
	if _, _, err := follows.Sequence(t.Context()); err != nil {
		t.Fatal(err)
	}
	asks := moments.New(moments.Options{JS: js, Logger: slog.New(slog.DiscardHandler), Now: time.Now}) // it follows no log
	for name, subjects := range map[string][]string{
		"a device":     {eventlog.DeviceSubject("device-000003"), eventlog.StateSubject("device-000003", eventlog.Wildcard), eventlog.InfoSubject("device-000003")},
		"a Deployment": {eventlog.DeploymentSubject("shop", "app-1"), eventlog.StateSubject(eventlog.Wildcard, "app-1")},
		"nothing":      {eventlog.DeviceSubject("nobody")},
	} {
		var on []uint64
		for e, err := range reader.Read(t.Context(), js, reader.Options{Subjects: subjects}) {
			if err != nil && !errors.Is(err, eventlog.ErrForeign) {
				t.Fatal(err)
			}
			on = append(on, e.Sequence)
		}
		for at := uint64(1); at <= events; at += 7 {
			var want moments.Neighbours
			for _, seq := range on {
				switch {
				case seq <= at:
					want.Before, want.Current = want.Current, seq
				case want.After == 0:
					want.After = seq
				}
			}
			for who, m := range map[string]*moments.Moments{"by the newest events": follows, "by questions to the log": asks} {
				got, err := m.Neighbours(t.Context(), at, events, subjects)
				if err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Errorf("%s at %d, %s: %+v, want %+v", name, at, who, got, want)
				}
			}
		}
	}
}

// Two moments at a time, in whatever order many ask for them, wait for each other and not for
// ever; each shows its own sequence.
func TestManyCompareMomentsAtATime(t *testing.T) {
	t.Parallel()
	const events = 100
	m := start(t, life(t, events), 3)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				a, b := uint64(rand.IntN(6)*20), uint64(rand.IntN(6)*20) // 0 is now
				err := m.Both(t.Context(), moments.Moment{Moment: asof.Moment{Sequence: a}}, moments.Moment{Moment: asof.Moment{Sequence: b}}, func(x, y moments.Fleet) {
					for want, f := range map[uint64]moments.Fleet{a: x, b: y} {
						if got := f.Catalog.View.Sequence; got != want && want > 0 || f.Now != (want == 0) {
							t.Errorf("the moment %d shows %d", want, got)
						}
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// A reader that asks how far the log is folded does not wait for one that has the fleet.
func TestHowFarTheLogIsFoldedIsToldWhileAnotherHasTheFleet(t *testing.T) {
	t.Parallel()
	const events = 50
	m := start(t, life(t, events), 1)
	err := m.At(t.Context(), moments.Moment{}, func(moments.Fleet) {
		told := make(chan uint64, 1)
		go func() {
			sequence, _, err := m.Sequence(t.Context())
			if err != nil {
				t.Error(err)
			}
			told <- sequence
		}()
		select {
		case sequence := <-told:
			if sequence != events {
				t.Errorf("it is folded up to %d, want %d", sequence, events)
			}
		case <-time.After(time.Minute):
			t.Error("it is not told within a minute")
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// A reader that wants another moment of the past than those that are held waits until one is released.
func TestAnotherMomentWaitsUntilOneIsLetGo(t *testing.T) {
	t.Parallel()
	m := start(t, life(t, 50), 2)
	var all []*moments.Held
	for _, at := range []uint64{10, 20} {
		h, err := m.Hold(t.Context(), moments.Moment{Moment: asof.Moment{Sequence: at}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	brief, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := m.Hold(brief, moments.Moment{Moment: asof.Moment{Sequence: 30}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third moment: %v", err)
	}
	if err := m.At(t.Context(), moments.Moment{}, func(moments.Fleet) {}); err != nil {
		t.Errorf("now waits for moments of the past: %v", err)
	}
	all[0].Release()
	h, err := m.Hold(t.Context(), moments.Moment{Moment: asof.Moment{Sequence: 30}})
	if err != nil {
		t.Fatal(err)
	}
	h.Release()
	all[1].Release()
}

// What an event changed is in what the fleet just before it and just after it differ, and to tell
// it takes no view of the past from those who look at one.
func TestWhatAnEventChangedIsToldBesideTheViewsOfThePast(t *testing.T) {
	t.Parallel()
	const events = 200
	js := life(t, events)
	m := start(t, js, 2)
	var held []*moments.Held
	for _, at := range []uint64{10, 20} { // all that there may be
		h, err := m.Hold(t.Context(), moments.Moment{Moment: asof.Moment{Sequence: at}})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	got := map[uint64][]viewdiff.Change{}
	for n := uint64(2); n <= events; n += 4 {
		changes, err := m.Changed(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		got[n] = changes
	}
	for _, h := range held {
		h.Release()
	}
	view, told := fleet.New(), 0
	for e, err := range reader.Read(t.Context(), js, reader.Options{}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			t.Fatal(err)
		}
		before, failed := fleet.Decode(asoftest.Encode(t, view))
		if failed != nil {
			t.Fatal(failed)
		}
		fleet.Apply(view, e, err)
		changes, asked := got[e.Sequence]
		if !asked {
			continue
		}
		if diff := cmp.Diff(viewdiff.Between(before, view), changes); diff != "" {
			t.Errorf("event %d (-the views around it +told):\n%s", e.Sequence, diff)
		}
		told += len(changes)
	}
	if told < len(got)/2 {
		t.Errorf("%d events changed %d things in all", len(got), told)
	}
	for sequence, want := range map[uint64]error{1: asof.ErrBeforeBeginning, events + 1: asof.ErrBeyondEnd} {
		if _, err := m.Changed(t.Context(), sequence); !errors.Is(err, want) {
			t.Errorf("event %d: %v, want %v", sequence, err, want)
		}
	}
}
