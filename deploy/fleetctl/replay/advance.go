package replay

import "time"

// Advance plays what is due after some of the person's time has passed. A gap that
// would take longer than two seconds to play is skipped. It reports whether something
// changed.
func (p *Player) Advance(passed time.Duration) bool {
	if p.err != nil || p.paused || p.aim.kind != aimNone || p.Ended() {
		return false
	}
	if p.speed == SpeedMax {
		return p.rush()
	}
	due := p.clock.Add(p.speed.history(passed))
	for range burst {
		next := p.nextSeen()
		if next < 0 {
			// The person sees nothing of what is left: it is a gap.
			left := p.window.left()
			p.playTo(len(p.window.frames))
			return left > 0
		}
		at := p.window.frames[next].Recorded
		if at.Sub(p.last) > p.speed.MaxGap() && at.After(due) {
			due = at
		}
		if at.After(due) {
			for p.window.next < next && !p.window.frames[p.window.next].Recorded.After(due) {
				p.play()
			}
			p.clock = due
			return true
		}
		p.playTo(next + 1)
		if at.After(p.clock) {
			p.clock = at
		}
	}
	return true // history is quicker than this machine: the clock is late
}

func (p *Player) rush() bool {
	n := min(p.window.left(), burst)
	if n == 0 {
		return false
	}
	p.playTo(p.window.next + n)
	p.settle()
	return true
}

func (p *Player) playTo(i int) {
	for p.window.next < i && p.err == nil {
		p.play()
	}
}

// nextSeen is the index in the window of the next frame that the person sees, or -1.
func (p *Player) nextSeen() int {
	for i := p.window.next; i < len(p.window.frames); i++ {
		if p.window.frames[i].Seen {
			return i
		}
	}
	return -1
}
