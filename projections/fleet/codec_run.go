package fleet

import (
	"bytes"
	"encoding/json"
)

// rollouts writes what a Deployment's rollouts have come to.
func (w *writer) rollouts(d *Deployment) {
	w.target(&d.Stable)
	w.target(&d.Before)
	w.text(d.Rejected)
	run := d.Run
	w.target(&run.Target)
	run.Target = Target{}
	w.json(run)
	w.bool(d.Hold != nil)
	if d.Hold != nil {
		w.text(d.Hold.By)
		w.text(d.Hold.Reason)
		w.mark(d.Hold.Mark)
	}
	w.uint(uint64(len(d.Requests)))
	for i := range d.Requests {
		w.request(&d.Requests[i])
	}
	w.uint(uint64(len(d.Contents)))
	for _, c := range d.Contents {
		w.uint(c.Revision)
		w.text(c.Hash)
		w.bytes(c.Score)
	}
}

func (r *reader) rollouts(d *Deployment) {
	d.Settings = settingsOf(d.Spec.Rollout)
	d.Stable, d.Before, d.Rejected = r.target(), r.target(), r.text()
	target := r.target()
	r.json(&d.Run)
	d.Run.Target = target
	if r.bool() {
		d.Hold = &Hold{By: r.text(), Reason: r.text(), Mark: r.mark()}
	}
	for range r.count() {
		d.Requests = append(d.Requests, *r.request())
	}
	for range r.count() {
		d.Contents = append(d.Contents, Content{Revision: r.uint(), Hash: r.text(), Score: r.bytes()})
	}
	// The same content is kept once, as in the view that was encoded.
	same := []*json.RawMessage{&d.Spec.Score, &d.Stable.Score, &d.Before.Score, &d.Run.Target.Score}
	for i := range d.Contents {
		same = append(same, &d.Contents[i].Score)
	}
	for i, a := range same {
		for _, b := range same[:i] {
			if bytes.Equal(*a, *b) {
				*a = *b
				break
			}
		}
	}
}

func (w *writer) target(t *Target) {
	w.uint(t.Revision)
	w.text(t.Content)
	w.text(t.Hash)
	w.bytes(t.Score)
	w.uint(t.Restart)
}

func (r *reader) target() Target {
	return Target{Revision: r.uint(), Content: r.text(), Hash: r.text(), Score: r.bytes(), Restart: r.uint()}
}

// What of a pair's part in a rollout is there, as bits.
const (
	isUpset = 1 << iota
	isLost
	isWrittenOff
	isGone
	hasReturned
	isCounted
)

func (w *writer) part(p *Assignment) {
	var has uint64
	for bit, is := range [...]bool{p.Upset, p.Lost, p.WrittenOff, p.Gone, p.Returned, p.Counted} {
		if is {
			has |= 1 << bit
		}
	}
	w.uint(has)
	w.uint(uint64(p.Batch))
	w.moment(p.Since)
	w.moment(p.Begun)
}

func (r *reader) part(p *Assignment) {
	has := r.uint()
	p.Upset, p.Lost, p.WrittenOff, p.Gone = has&isUpset != 0, has&isLost != 0, has&isWrittenOff != 0, has&isGone != 0
	p.Returned, p.Counted = has&hasReturned != 0, has&isCounted != 0
	if n := r.uint(); n <= maxBatch {
		p.Batch = int32(n)
	} else {
		r.fail("batch %d", n)
	}
	p.Since, p.Begun = r.moment(), r.moment()
}
