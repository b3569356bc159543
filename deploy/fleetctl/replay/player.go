package replay

import (
	"fmt"
	"time"

	"fleet.nationtech.io/projections/fleet"
)

// Range is the part of the log that is played.
type Range struct {
	// First is the sequence at which the replay begins: the view there holds what
	// came before it, and nothing goes further back. 0 is before the first event.
	First uint64
	// Last is the last sequence that is played.
	Last uint64
	// Began is when history begins to be played.
	Began time.Time
	// Sparse says that the source skips what nobody sees, so that it is quicker to
	// read on than to fold the whole log up to a place.
	Sparse bool
}

// Player moves a view of the fleet along the log. It knows no clock and reads
// nothing: Want says what it needs read, Feed and Enter give it that, and Advance
// lets time pass. It has one owner.
type Player struct {
	span  Range
	speed Speed

	view          *fleet.View
	at            uint64    // the view is folded up to here
	clock         time.Time // of history
	last          time.Time // when what was seen last was recorded
	tail          []Frame   // what was seen last, oldest first
	grid          grid
	window        window
	snapshots     snapshots
	sinceSnapshot int // frames since the last snapshot
	marks         []uint64
	marked        bool // the marks are known

	paused bool
	aim    aim
	round  int // counts what made earlier wants void
	err    error
}

// aim is what the player is on its way to.
type aim struct {
	kind     aimKind
	sequence uint64
}

type aimKind uint8

const (
	aimNone aimKind = iota
	aimNext         // the next frame that is seen
	aimAt           // a sequence
	aimFold         // a view that the source folds, and from there aimAt
)

const (
	maxTail = 64 // frames that were seen last
	burst   = 16384
	// foldDistance is the distance from which on a view is asked of the source, which
	// may have checkpoints, instead of playing up to it; runUp is how much before its
	// goal such a view is, so that there is something to go back through.
	foldDistance = 1 << 16
	runUp        = 1 << 14
)

// NewPlayer makes a player at the beginning of a range, of the view as it is there.
func NewPlayer(r Range, s Filter, v *fleet.View) *Player {
	p := &Player{span: r, grid: grid{filter: s}, window: windowAt(r.First)}
	p.enter(v, r.First, nil)
	return p
}

// Err is why the player cannot go on, or nil.
func (p *Player) Err() error { return p.err }

// Want is what a player needs of a source: the frames after a sequence, or the view
// at one.
type Want struct {
	Round int
	After uint64
	View  bool
}

// Want says what is to be read next, if anything.
func (p *Player) Want() (Want, bool) {
	switch {
	case p.aim.kind == aimFold:
		return Want{Round: p.round, After: p.foldTo(), View: true}, true
	case p.window.end || p.window.left() > Chunk/2:
		return Want{}, false
	}
	return Want{Round: p.round, After: p.window.high}, true
}

func (p *Player) foldTo() uint64 {
	if p.aim.sequence < p.span.First+runUp || p.span.Sparse {
		return p.span.First
	}
	return p.aim.sequence - runUp
}

// Feed gives the frames that a Want asked for. Those of an earlier round are
// ignored: the person meanwhile wanted to go elsewhere.
func (p *Player) Feed(w Want, frames []Frame, end bool) {
	if w.Round != p.round || w.View || w.After != p.window.high {
		return
	}
	p.window.add(frames, end || len(frames) == 0)
	if p.window.end {
		p.window.high = max(p.window.high, p.span.Last)
	}
}

// Enter gives the view that a Want asked for.
func (p *Player) Enter(w Want, v *fleet.View) {
	if w.Round != p.round || !w.View {
		return
	}
	p.window = windowAt(w.After)
	p.round++
	p.enter(v, w.After, nil)
	p.aim.kind = aimAt
}

// enter takes a view as the one to go on from.
func (p *Player) enter(v *fleet.View, sequence uint64, tail []Frame) {
	v.Track()
	p.view, p.at, p.sinceSnapshot = v, sequence, 0
	p.tail = append(p.tail[:0:0], tail...)
	p.grid.reset(v)
	p.settle()
	p.keep()
}

// settle sets the clock to where the view is.
func (p *Player) settle() {
	p.clock = p.span.Began
	if p.view.Recorded.After(p.clock) {
		p.clock = p.view.Recorded
	}
	p.last = p.clock
}

// keep takes a snapshot of where the player is.
func (p *Player) keep() {
	p.sinceSnapshot = 0
	if p.err != nil {
		return
	}
	if s, ok := p.snapshots.before(p.at); ok && s.sequence == p.at {
		return
	}
	b, err := fleet.Encode(p.view)
	if err != nil {
		p.err = fmt.Errorf("keep the fleet at sequence %d: %w", p.at, err)
		return
	}
	p.snapshots.put(snapshot{sequence: p.at, view: b, tail: append([]Frame(nil), p.tail...)})
}

// play folds the window's next frame.
func (p *Player) play() Frame {
	f := p.window.frames[p.window.next]
	p.window.next++
	fleet.Apply(p.view, f.Event, f.Foreign)
	p.at = f.Sequence
	if f.Seen {
		if len(p.tail) == 2*maxTail {
			p.tail = append(p.tail[:0:0], p.tail[maxTail:]...)
		}
		p.tail = append(p.tail, f)
		p.last = f.Recorded
	}
	p.sinceSnapshot++
	if p.sinceSnapshot >= p.snapshots.due(p.view) {
		p.keep()
	}
	return f
}

// Ended says whether nothing is left to play.
func (p *Player) Ended() bool { return p.aim.kind == aimNone && p.window.end && p.window.left() == 0 }

// Busy says whether the player is on its way to somewhere.
func (p *Player) Busy() bool { return p.aim.kind != aimNone }

// Pause stops time, or lets it pass.
func (p *Player) Pause(paused bool) { p.paused = paused }

// Paused says whether time stands.
func (p *Player) Paused() bool { return p.paused }

// SetSpeed changes how quickly time passes.
func (p *Player) SetSpeed(s Speed) { p.speed = s }

// Mark tells where rollouts begin, in order.
func (p *Player) Mark(sequences []uint64) { p.marks, p.marked = sequences, true }

// Refresh brings the cells up to what was folded. The screen needs that.
func (p *Player) Refresh() {
	_, devices := p.view.Drain()
	p.grid.update(p.view, devices)
}
