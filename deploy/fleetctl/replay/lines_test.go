package replay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/fleetctl/replay"
	"fleet.nationtech.io/eventlog"
)

func (s *story) play() iter.Seq2[replay.Frame, error] {
	return func(yield func(replay.Frame, error) bool) {
		for _, f := range s.frames {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// paced are five events with gaps of 30 s, 3 h and 119 s before the last ones.
func paced(t testing.TB) *story {
	s := newStory(t)
	for _, gap := range []time.Duration{0, 30 * time.Second, 3 * time.Hour, 119 * time.Second} {
		s.wait(gap)
		s.presence("edge-01", eventlog.DeviceOnline)
	}
	return s
}

func TestLinesArePacedBySpeed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		speed replay.Speed
		want  []string
	}{
		"a minute a second": {60, []string{"0s 1", "500ms 2", "500ms … 3h without events", "500ms 3", "2.483333333s 4"}},
		"as it was":         {1, []string{"0s 1", "0s … 30s without events", "0s 2", "0s … 3h without events", "0s 3", "0s … 2m without events", "0s 4"}},
		"without waiting":   {replay.SpeedMax, []string{"0s 1", "0s 2", "0s … 3h without events", "0s 3", "0s 4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var got []string
				say := func(what string) { got = append(got, fmt.Sprint(time.Since(began), " ", what)) }
				_, err := replay.Lines{
					Speed: c.speed, Began: epoch,
					Write:   func(_ io.Writer, f replay.Frame) error { say(fmt.Sprint(f.Sequence)); return nil },
					Skipped: func(_ io.Writer, text string) error { say(text); return nil },
				}.Play(t.Context(), paced(t).play())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("lines (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestLinesEndWithTheirContextWithTheirReaderAndWithTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		lost, closed := errors.New("the log is gone"), errors.New("closed")
		count := 0
		l := replay.Lines{Speed: 60, Began: epoch, Write: func(io.Writer, replay.Frame) error { count++; return nil }}
		if shown, err := l.Play(ctx, paced(t).play()); err != nil || count != 3 || shown != 3 {
			t.Errorf("a context that ended while waiting gave %v after %d lines", err, count)
		}
		if _, err := l.Play(t.Context(), func(yield func(replay.Frame, error) bool) { yield(replay.Frame{}, lost) }); !errors.Is(err, lost) {
			t.Errorf("a lost log gave %v", err)
		}
		l.Write = func(io.Writer, replay.Frame) error { return closed }
		if _, err := l.Play(t.Context(), paced(t).play()); !errors.Is(err, closed) {
			t.Errorf("a closed output gave %v", err)
		}
	})
}
