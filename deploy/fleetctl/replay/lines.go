package replay

import (
	"context"
	"io"
	"iter"
	"time"
)

// Lines plays where there is no terminal to draw on: a line an event, paced by
// the speed.
type Lines struct {
	Out   io.Writer
	Speed Speed
	// Began is when history begins to be played.
	Began time.Time
	// Write writes one event.
	Write func(io.Writer, Frame) error
	// Quiet says that a silence was skipped; nil says nothing.
	Quiet func(io.Writer, string) error
	// Key waits for the person's word before each event but the first, and false
	// ends the play; nil waits for time alone.
	Key func(context.Context) (bool, error)
	// Now is the clock by which time passes; nil is time.Now.
	Now func() time.Time
}

// Play writes the frames that are seen. It fails with the frames' error, or with
// the writer's; a context that ends while it waits ends it without one.
func (l Lines) Play(ctx context.Context, frames iter.Seq2[Frame, error]) error {
	if l.Now == nil {
		l.Now = time.Now
	}
	var shown bool
	last := l.Began
	began, skipped := l.Now(), time.Duration(0)
	for f, err := range frames {
		if err != nil {
			return err
		}
		if !f.Seen {
			continue
		}
		if gap := f.Recorded.Sub(last); gap > l.Speed.Quiet() && shown {
			skipped += gap
			if l.Quiet != nil {
				if err := l.Quiet(l.Out, quiet(gap)); err != nil {
					return err
				}
			}
		} else if gap > l.Speed.Quiet() {
			skipped += gap // before the first event: nobody has seen yet what is quiet
		}
		switch {
		case l.Key != nil && shown:
			if more, err := l.Key(ctx); err != nil || !more {
				return err
			}
		case l.Key == nil && l.Speed != SpeedMax:
			due := began.Add(l.Speed.wait(f.Recorded.Sub(l.Began) - skipped))
			if !pause(ctx, due.Sub(l.Now())) {
				return nil
			}
		}
		if err := l.Write(l.Out, f); err != nil {
			return err
		}
		shown, last = true, f.Recorded
	}
	return nil
}

// pause waits, and says whether it was left to do so.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
