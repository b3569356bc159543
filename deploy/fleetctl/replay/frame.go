// Package replay plays the fleet's history on a screen: a player moves a view along
// the log, forth and back, and a screen draws where it is. Both are pure; a source
// reads the log for them, and a terminal or a pipe shows it.
package replay

import (
	"context"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Frame is one event of the log, as the player plays it.
type Frame struct {
	eventlog.Event
	// Foreign is why the message is none of the fleet's, or nil.
	Foreign error
	// Seen says that the person asked for it. What is not seen is folded, so that
	// the devices are right, and otherwise passed over.
	Seen bool
}

// Source gives the player its frames.
type Source interface {
	// Frames gives the next frames after a sequence, at most maxFrames; end says
	// that there are none after them.
	Frames(ctx context.Context, after uint64, maxFrames int) (frames []Frame, end bool, err error)
	// View is the fleet as it was at a sequence; 0 is before the first event.
	View(ctx context.Context, sequence uint64) (*fleet.View, error)
	// Rollouts lists where rollouts begin, in order.
	Rollouts(ctx context.Context) ([]uint64, error)
}
