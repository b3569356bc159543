package replay

import "time"

// Advance lets some of the person's time pass. Silence that would take longer
// than two seconds to play is skipped. It says whether something changed.
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
			// Nobody sees what is left here: it is silence.
			left := p.reel.left()
			p.playTo(len(p.reel.frames))
			return left > 0
		}
		at := p.reel.frames[next].Recorded
		if at.Sub(p.last) > p.speed.Quiet() && at.After(due) {
			due = at
		}
		if at.After(due) {
			for p.reel.next < next && !p.reel.frames[p.reel.next].Recorded.After(due) {
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
	n := min(p.reel.left(), burst)
	if n == 0 {
		return false
	}
	p.playTo(p.reel.next + n)
	p.settle()
	return true
}

func (p *Player) playTo(i int) {
	for p.reel.next < i && p.err == nil {
		p.play()
	}
}

// nextSeen is the place on the reel of the next frame that the person sees, or -1.
func (p *Player) nextSeen() int {
	for i := p.reel.next; i < len(p.reel.frames); i++ {
		if p.reel.frames[i].Seen {
			return i
		}
	}
	return -1
}
