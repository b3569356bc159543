package fleetctl

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	progressPatience = 500 * time.Millisecond // what is over by then shows no progress
	progressPause    = 100 * time.Millisecond // between two drawings
	progressWidth    = 24                     // of the bar, in columns
	eraseLine        = "\r\x1b[K"
)

// progress is one line on a person's stderr that says how far long work is. It
// is silent where stderr is no terminal, and for the first half second. It is
// safe for use by several goroutines.
type progress struct {
	s    Streams
	what string

	mu    sync.Mutex
	began time.Time
	drawn time.Time
	shown bool
}

// progress begins a line about what is being done, such as "folding the log".
// Whoever begins one ends it before anything else is written.
func (s Streams) progress(what string) *progress {
	return &progress{s: s, what: what, began: s.Now()}
}

// report tells how much is done, of about how much (0: nobody knows).
func (p *progress) report(done, total uint64) {
	if !p.s.ErrTerminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.s.Now()
	if now.Sub(p.began) < progressPatience || now.Sub(p.drawn) < progressPause {
		return
	}
	p.drawn, p.shown = now, true
	p.s.warn("%s%s", eraseLine, progressLine(p.what, done, total, now.Sub(p.began)))
}

// end takes the line away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		p.shown = false
		p.s.warn("%s", eraseLine)
	}
}

func progressLine(what string, done, total uint64, took time.Duration) string {
	if total == 0 {
		return fmt.Sprintf("%s: %d so far", what, done)
	}
	share := min(1, float64(done)/float64(total))
	full := int(share * progressWidth)
	line := fmt.Sprintf("%s [%s%s] %3.0f %%", what, strings.Repeat("=", full), strings.Repeat(" ", progressWidth-full), 100*share)
	if share > 0 && share < 1 {
		left := time.Duration(float64(took) * (1 - share) / share)
		line += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return line
}
