package fleetctl

import (
	"strings"
	"testing"
	"time"
)

func TestProgressIsForPersonsWhoWait(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)
	var said strings.Builder
	s := Streams{Err: &said, ErrTerminal: true, Now: func() time.Time { return now }}
	p := s.progress("folding the log")
	says := func(when, want string) {
		t.Helper()
		if got := said.String(); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
		said.Reset()
	}
	p.report(10, 100)
	says("at once", "")
	now = now.Add(progressPatience)
	p.report(25, 100)
	says("after half a second", eraseLine+"folding the log [======                  ]  25 %, 2s left")
	p.report(26, 100)
	says("right after", "")
	now = now.Add(progressPause)
	p.report(26, 0)
	says("of unknown length", eraseLine+"folding the log: 26 so far")
	p.end()
	says("at the end", eraseLine)
	p.end()
	says("twice", "")

	s.ErrTerminal = false
	p = s.progress("folding the log")
	now = now.Add(time.Minute)
	p.report(50, 100)
	p.end()
	says("in a pipe", "")
}
