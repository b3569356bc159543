package fleetctl

import "time"

// pausePerThing is how long a thing that was written is not written again: as long
// as the operator lets pass between two writes of a status, so that a watch reads
// as kubectl's does, also where a rollout brings a report from each of a thousand
// devices.
const pausePerThing = time.Second

// pace keeps a watch readable: what was written just now rests, and what changes
// of it meanwhile is written when the rest is over, once, as it reads then. It goes
// by the log's own clock: the past is told again as it would have been told to
// whoever had watched it. The zero value has nothing that rests.
type pace struct {
	rests []rest              // in the order in which they began
	until map[place]time.Time // when the rest ends of each that rests
	held  map[place]struct{}  // of these, what has changed since
}

type rest struct {
	at    place
	until time.Time
}

// written begins something's rest.
func (p *pace) written(at place, now time.Time) {
	if p.until == nil {
		p.until, p.held = map[place]time.Time{}, map[place]struct{}{}
	}
	p.until[at] = now.Add(pausePerThing)
	p.rests = append(p.rests, rest{at, p.until[at]})
}

// holds says whether something rests; then its change is given by over.
func (p *pace) holds(at place) bool {
	if _, resting := p.until[at]; !resting {
		return false
	}
	p.held[at] = struct{}{}
	return true
}

// gone forgets something: should it come again, that is written at once.
func (p *pace) gone(at place) {
	delete(p.until, at)
	delete(p.held, at)
}

// over ends the rests that are over by now, and gives what has changed meanwhile.
func (p *pace) over(now time.Time) []place {
	var changed []place
	for len(p.rests) > 0 && !p.rests[0].until.After(now) {
		r := p.rests[0]
		p.rests = p.rests[1:]
		if until, resting := p.until[r.at]; !resting || !until.Equal(r.until) {
			continue // it went, and perhaps came again
		}
		if _, held := p.held[r.at]; held {
			changed = append(changed, r.at)
		}
		p.gone(r.at)
	}
	return changed
}

// next is when over is to be asked again, where anything is held.
func (p *pace) next() (time.Time, bool) {
	if len(p.held) == 0 {
		return time.Time{}, false
	}
	return p.rests[0].until, true
}
