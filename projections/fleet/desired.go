package fleet

import (
	"bytes"
	"fmt"
	"slices"

	"fleet.nationtech.io/eventlog"
)

func (v *View) applyDesired(e *eventlog.Event) error {
	if e.Namespace == "" {
		return fmt.Errorf("%w: no header %s", eventlog.ErrForeign, eventlog.HeaderNamespace)
	}
	dev := v.device(e.Address.Device)
	dev.LastDesired = e.Sequence
	if e.Type != eventlog.DesiredAssigned && e.Type != eventlog.DesiredWithdrawn {
		return nil // a newer writer's: nothing that this fold knows to do
	}
	p := v.assignment(dev, e.Address.Deployment)
	dev.count(p, -1) // what is assigned or withdrawn is known from now on
	switch key := (Key{e.Namespace, e.Address.Deployment}); e.Type {
	case eventlog.DesiredAssigned:
		d := v.deployment(key)
		hash := d.Spec.ScoreHash
		if hash == "" || e.Template != "" || !bytes.Equal(e.Data, d.Spec.Score) {
			hash = eventlog.Hash(e.Data)
		}
		v.change(p, func() {
			v.detach(p)
			p.Key = &d.Key
			changed := e.Sequence
			if p.Desired.Hash == hash {
				changed = p.Desired.Changed
				if textOf(p.Desired.Template) != e.Template { // it has the target from now on, as if the run had found it there
					p.Begun = MomentOf(v.Clock)
				}
			} else {
				p.Upset = p.Desired.Hash != "" && dev.Presence.Online == OnlineTrue
				p.Since, p.Begun, p.Lost, p.WrittenOff = MomentOf(v.Clock), MomentOf(v.Clock), false, false
				p.Counted = false
				v.pace(d)
			}
			p.Batch, p.Gone = int32(min(e.Batch, maxBatch)), false
			d.attach(p)
			var template *string
			if e.Template == "" {
				hash = v.intern(hash)
			} else { // few devices share the hash
				text := v.intern(e.Template)
				template = &text
			}
			p.Desired = Desired{Sequence: e.Sequence, Changed: changed, Hash: hash, Template: template, Revision: e.Revision, At: MomentOf(e.Time), Recorded: MomentOf(e.Recorded)}
		})
	case eventlog.DesiredWithdrawn:
		v.change(p, func() {
			v.detach(p)
			p.Key = v.key(key)
			p.Batch, p.Begun, p.Upset, p.Lost, p.WrittenOff = 0, 0, false, false, false
			p.Gone = v.Deployments[key] != nil && v.Deployments[key].Lifecycle == Applied
			p.Desired = Desired{Sequence: e.Sequence, Revision: e.Revision, At: MomentOf(e.Time), Recorded: MomentOf(e.Recorded)}
		})
	}
	return nil
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// maxBatch bounds what a header can make of a batch's number.
const maxBatch = 1 << 16

// attach gives the Deployment a place on the pair's device.
func (d *Deployment) attach(p *Assignment) {
	p.Deployment, p.place = d, int32(len(d.pairs))
	d.pairs = append(d.pairs, p)
}

// detach takes it away: the last of the Deployment's pairs takes this one's place.
func (v *View) detach(p *Assignment) {
	d := p.Deployment
	if d == nil {
		return
	}
	last := len(d.pairs) - 1
	d.pairs[p.place] = d.pairs[last]
	d.pairs[p.place].place = p.place
	d.pairs[last] = nil
	d.pairs = d.pairs[:last]
	if d.lastFailed == p {
		d.staleError = true
	}
	v.touchDeployment(d)
	p.Deployment = nil
}

// key gives the Key that a Deployment has, or makes one of a Deployment that the
// log does not know.
func (v *View) key(k Key) *Key {
	if d, ok := v.Deployments[k]; ok {
		return &d.Key
	}
	return &Key{v.intern(k.Namespace), v.intern(k.Name)}
}

func (v *View) assignment(dev *Device, name string) *Assignment {
	i, ok := dev.find(name)
	if ok {
		return dev.pairs[i]
	}
	p := &Assignment{Device: dev, Key: v.key(Key{Name: name})}
	dev.pairs = slices.Insert(dev.pairs, i, p)
	dev.count(p, +1)
	return p
}
