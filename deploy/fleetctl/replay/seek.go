package replay

import (
	"fmt"
	"sort"

	"fleet.nationtech.io/projections/fleet"
)

// Step goes to the next event that the person sees. Work does it.
func (p *Player) Step() {
	p.halt()
	p.aim = aim{kind: aimNext}
}

// Back goes to before the event that the person saw last.
func (p *Player) Back() {
	p.halt()
	if n := len(p.tail); n > 0 {
		p.Seek(p.tail[n-1].Sequence - 1)
		return
	}
	p.Seek(p.span.First)
}

// Home goes to the beginning, End to the end.
func (p *Player) Home() { p.Seek(p.span.First) }

// End goes to the end.
func (p *Player) End() { p.Seek(p.span.Last) }

// Rollout goes to where the next rollout begins, or the one before; it says
// whether there is one.
func (p *Player) Rollout(forth bool) bool {
	p.halt()
	i := sort.Search(len(p.marks), func(i int) bool { return p.marks[i] > p.at })
	if !forth {
		i = sort.Search(len(p.marks), func(i int) bool { return p.marks[i] >= p.at }) - 1
	}
	if i < 0 || i >= len(p.marks) {
		return false
	}
	p.Seek(p.marks[i])
	return true
}

// halt forgets what the player is on its way to.
func (p *Player) halt() {
	if p.aim.kind == aimFold {
		p.round++
	}
	p.aim = aim{}
}

// Seek goes to a sequence: the nearest place to go on from is where the player is,
// a snapshot, or a view that the source folds. Work does the rest of the way.
func (p *Player) Seek(sequence uint64) {
	p.halt()
	sequence = min(max(sequence, p.span.First), p.span.Last)
	p.aim = aim{kind: aimAt, sequence: sequence}
	base, found := p.at, p.at <= sequence
	s, ok := p.snapshots.before(sequence)
	if ok && (!found || s.sequence > base) {
		base, found = s.sequence, true
	}
	way := sequence - base
	if !found || !p.span.Sparse && way > foldDistance && way > sequence/3 {
		p.aim.kind = aimFold
		return
	}
	if base == p.at {
		return
	}
	v, err := fleet.Decode(s.view)
	if err != nil {
		p.err = fmt.Errorf("go back to sequence %d: %w", base, err)
		return
	}
	if !p.window.moveTo(base) {
		p.window = windowAt(base)
		p.round++
	}
	p.enter(v, base, s.tail)
}

// Work goes on towards where the player is on its way to, for as long as drawing
// a frame may take. It reports whether something changed: nothing does while the
// window waits to be fed.
func (p *Player) Work() bool {
	if p.err != nil || p.aim.kind == aimNone || p.aim.kind == aimFold {
		return false
	}
	played := 0
	for ; played < burst && p.err == nil; played++ {
		if p.aim.kind == aimAt {
			if p.window.left() == 0 && p.window.high >= p.aim.sequence || p.window.left() > 0 && p.window.frames[p.window.next].Sequence > p.aim.sequence {
				p.arrive()
				return true
			}
			if p.sinceSnapshot > approach && p.aim.sequence-p.at <= 2*approach && p.aim.sequence-p.at > approach {
				p.keep()
			}
		}
		if p.window.left() == 0 {
			if p.window.end {
				p.arrive()
				return true
			}
			break
		}
		if f := p.play(); p.aim.kind == aimNext && f.Seen {
			p.arrive()
			return true
		}
	}
	return played > 0
}

func (p *Player) arrive() {
	p.aim = aim{}
	p.settle()
}
