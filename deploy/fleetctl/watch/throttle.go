package watch

import "time"

// minWriteInterval is how long a thing that was written is not written again: as long
// as the operator lets pass between two writes of a status, so that a watch reads
// as kubectl's does, also where a rollout brings a report from each of a thousand
// devices.
const minWriteInterval = time.Second

// throttle keeps a watch readable: what was written just now rests, and what changes
// of it meanwhile is written when the rest is over, once, as it reads then. It goes
// by the log's own clock: the past is told again as it would have been told to
// anyone who had watched it. The zero value has nothing that rests.
type throttle struct {
	rests []rest                  // in the order in which they began
	until map[objectKey]time.Time // when the rest ends of each that rests
	held  map[objectKey]struct{}  // of these, what has changed since
}

type rest struct {
	at    objectKey
	until time.Time
}

// written begins something's rest.
func (p *throttle) written(at objectKey, now time.Time) {
	if p.until == nil {
		p.until, p.held = map[objectKey]time.Time{}, map[objectKey]struct{}{}
	}
	p.until[at] = now.Add(minWriteInterval)
	p.rests = append(p.rests, rest{at, p.until[at]})
}

// holds says whether something rests; then its change is given by over.
func (p *throttle) holds(at objectKey) bool {
	if _, resting := p.until[at]; !resting {
		return false
	}
	p.held[at] = struct{}{}
	return true
}

// gone forgets something: should it come again, that is written at once.
func (p *throttle) gone(at objectKey) {
	delete(p.until, at)
	delete(p.held, at)
}

// over ends the rests that are over by now, and gives what has changed meanwhile.
func (p *throttle) over(now time.Time) []objectKey {
	var changed []objectKey
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
func (p *throttle) next() (time.Time, bool) {
	if len(p.held) == 0 {
		return time.Time{}, false
	}
	return p.rests[0].until, true
}
