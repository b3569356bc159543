package render

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"fleet.nationtech.io/deploy/fleetctl/cli"
)

const (
	progressDelay = 500 * time.Millisecond // what is over by then shows no progress
	progressPause = 100 * time.Millisecond // between two drawings
	progressWidth = 24                     // of the bar, in columns
	eraseLine     = "\r\x1b[K"
)

// Progress is one line on a person's stderr that says how far long work is. It
// is silent where stderr is no terminal, and for the first half second. It is
// safe for use by several goroutines.
type Progress struct {
	s    cli.Streams
	what string

	mu    sync.Mutex
	began time.Time
	drawn time.Time
	shown bool
}

// NewProgress begins a line about what is being done, such as "folding the log". The
// caller ends it before it writes anything else.
func NewProgress(s cli.Streams, what string) *Progress {
	return &Progress{s: s, what: what, began: s.Now()}
}

// Report tells how much is done, of about how much (0: nobody knows).
func (p *Progress) Report(done, total uint64) {
	if !p.s.ErrTerminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.s.Now()
	if now.Sub(p.began) < progressDelay || now.Sub(p.drawn) < progressPause {
		return
	}
	p.drawn, p.shown = now, true
	p.s.Warn("%s%s", eraseLine, progressLine(p.what, done, total, now.Sub(p.began)))
}

// End takes the line away.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		p.shown = false
		p.s.Warn("%s", eraseLine)
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

// StepProgress shows long work of several steps, one line after the other: report takes
// the line of one step away where it is told of the next. The caller ends it before it
// writes anything else.
func StepProgress[S ~string](s cli.Streams) (report func(step S, done, total uint64), end func()) {
	var p *Progress
	var at S
	end = func() {
		if p != nil {
			p.End()
		}
	}
	return func(step S, done, total uint64) {
		if step != at || p == nil {
			end()
			p, at = NewProgress(s, string(step)), step
		}
		p.Report(done, total)
	}, end
}
