package render

import (
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/fleetctl/cli"
)

func TestProgressIsForPersonsWhoWait(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)
	var said strings.Builder
	s := cli.Streams{Err: &said, ErrTerminal: true, Now: func() time.Time { return now }}
	p := NewProgress(s, "folding the log")
	says := func(when, want string) {
		t.Helper()
		if got := said.String(); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
		said.Reset()
	}
	p.Report(10, 100)
	says("at once", "")
	now = now.Add(progressDelay)
	p.Report(25, 100)
	says("after half a second", eraseLine+"folding the log [======                  ]  25 %, 2s left")
	p.Report(26, 100)
	says("right after", "")
	now = now.Add(progressPause)
	p.Report(26, 0)
	says("of unknown length", eraseLine+"folding the log: 26 so far")
	p.End()
	says("at the end", eraseLine)
	p.End()
	says("twice", "")

	s.ErrTerminal = false
	p = NewProgress(s, "folding the log")
	now = now.Add(time.Minute)
	p.Report(50, 100)
	p.End()
	says("in a pipe", "")
}

func TestProgressGoesFromStepToStep(t *testing.T) {
	t.Parallel()
	type step string
	now := time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)
	var said strings.Builder
	s := cli.Streams{Err: &said, ErrTerminal: true, Now: func() time.Time { return now }}
	report, end := StepProgress[step](s)
	end() // before anything was reported
	report("reading", 0, 4)
	now = now.Add(progressDelay)
	report("reading", 1, 4)
	report("writing", 0, 4)
	now = now.Add(progressDelay)
	report("writing", 2, 4) // half a second is rounded up
	end()
	want := eraseLine + "reading [======                  ]  25 %, 2s left" + eraseLine +
		eraseLine + "writing [============            ]  50 %, 1s left" + eraseLine
	if got := said.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
