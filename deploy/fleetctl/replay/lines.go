package replay

import (
	"context"
	"io"
	"iter"
	"time"

	"fleet.nationtech.io/eventlog/pause"
)

// Lines plays where there is no terminal to draw on: a line an event, paced by
// the speed.
type Lines struct {
	Out   io.Writer
	Speed Speed
	// Began is when history begins to be played; zero is at the first event.
	Began time.Time
	// Write writes one event.
	Write func(io.Writer, Frame) error
	// Skipped tells that a gap without events was skipped; nil tells nothing.
	Skipped func(io.Writer, string) error
}

// Play writes the frames that are seen, and says how many. It fails with the
// frames' error, or with the writer's; a context that ends while it waits ends it
// without one.
func (l Lines) Play(ctx context.Context, frames iter.Seq2[Frame, error]) (shown int, err error) {
	last, due := l.Began, time.Now()
	for f, err := range frames {
		if err != nil {
			return shown, err
		}
		if !f.Seen {
			continue
		}
		gap := f.Recorded.Sub(last)
		switch {
		case last.IsZero():
		case gap > l.Speed.MaxGap():
			if shown > 0 && l.Skipped != nil {
				if err := l.Skipped(l.Out, gapText(gap)); err != nil {
					return shown, err
				}
			}
		default:
			due = due.Add(l.Speed.wait(gap))
			if l.Speed != SpeedMax && !pause.For(ctx, time.Until(due)) {
				return shown, nil
			}
		}
		if err := l.Write(l.Out, f); err != nil {
			return shown, err
		}
		shown, last = shown+1, f.Recorded
	}
	return shown, nil
}
