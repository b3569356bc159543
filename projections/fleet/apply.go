package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// Apply folds one event into the view and returns the view. err is what
// decoding the event gave: a foreign message is counted and changes nothing
// else. Apply is deterministic: it knows no clock and no order but the log's.
// An event at or before the view's sequence changes nothing.
func Apply(v *View, e eventlog.Event, err error) *View {
	if e.Sequence != 0 && e.Sequence <= v.Sequence {
		return v
	}
	v.Sequence, v.Recorded = e.Sequence, e.Recorded.UTC()
	var dev *Device
	if e.Address.Family.OfDevices() && e.Address.Device != "" {
		dev = v.device(e.Address.Device)
		v.weigh(dev, &e)
	}
	switch {
	case err != nil:
	case dev != nil:
		err = v.applyNumbered(dev, &e)
	default:
		err = v.apply(&e)
	}
	if errors.Is(err, eventlog.ErrForeign) {
		v.Foreign[e.Address.Family]++
	}
	return v
}

// applyNumbered folds what a device wrote, unless the fold has seen it: a repeat.
func (v *View) applyNumbered(dev *Device, e *eventlog.Event) error {
	if !dev.Identity.accept(e) {
		v.touchDevice(dev)
		return nil
	}
	return v.applyReport(dev, e)
}

// apply folds what others than devices wrote. Events are handed on by reference,
// as an event is some 400 bytes; nothing keeps the reference.
func (v *View) apply(e *eventlog.Event) error {
	switch e.Address.Family {
	case eventlog.FamilyDesired:
		return v.applyDesired(e)
	case eventlog.FamilyDevice:
		return v.applyDevice(e)
	case eventlog.FamilyDeployment:
		return v.applyDeployment(e)
	case eventlog.FamilyLeader:
		l, err := eventlog.Payload[eventlog.Leader](*e)
		if err != nil {
			return err
		}
		v.Leader = Leader{Leader: l, Sequence: e.Sequence, At: e.Time.UTC()}
	case eventlog.FamilyRequest:
		return v.applyRequest(e)
	case eventlog.FamilyAccess:
		return v.applyAccess(e)
	}
	return nil
}

// weigh counts what a device writes against its budget, foreign messages too:
// they fill the log as others do.
func (v *View) weigh(dev *Device, e *eventlog.Event) {
	dev.Traffic.add(len(e.Data)+e.HeaderBytes, e.Recorded)
	if dev.Traffic.Flooding() {
		v.touchDevice(dev)
	}
}

func (v *View) applyReport(dev *Device, e *eventlog.Event) error {
	switch e.Type {
	case eventlog.StateReported:
		p := dev.Pair(e.Address.Deployment)
		told := ""
		if p != nil {
			told = p.Desired.Hash
		}
		s, err := e.Report(told, v.keep)
		if err != nil {
			return err
		}
		if p == nil {
			p = v.pair(dev, e.Address.Deployment)
		}
		v.reportState(p, e, s, false)
	case eventlog.InfoReported:
		i, err := e.ReportedInfo(v.keep)
		if err != nil {
			return err
		}
		v.reportInfo(dev, e, i)
	case eventlog.StateCleared, eventlog.InfoCleared:
		v.clear(dev, e)
	}
	return nil
}

func (v *View) reportState(p *Pair, e *eventlog.Event, s eventlog.DeploymentState, old bool) {
	v.change(p, func() {
		p.Reported = Reported{
			Sequence: e.Sequence, Phase: s.Phase, Hash: s.ScoreHash, Reason: s.Reason,
			Revision: s.Revision, At: s.LastEventAt.UTC(), Recorded: e.Recorded.UTC(),
		}
		p.old = old
		if s.LastError != nil {
			p.Reported.Error = v.intern(*s.LastError)
		}
	})
}

func (v *View) reportInfo(dev *Device, e *eventlog.Event, i eventlog.DeviceInfo) {
	i.UpdatedAt, i.DeviceID = i.UpdatedAt.UTC(), dev.ID
	if i.Inventory.Hostname == dev.ID {
		i.Inventory.Hostname = dev.ID
	}
	dev.Info, dev.InfoSequence, dev.Decommissioned = &i, e.Sequence, false
	v.touchDevice(dev)
}

// clear takes away what a device said on a subject.
func (v *View) clear(dev *Device, e *eventlog.Event) {
	switch e.Type {
	case eventlog.StateCleared:
		if p := dev.Pair(e.Address.Deployment); p != nil {
			v.change(p, func() { p.Reported, p.old = Reported{}, false })
			v.forget(p)
		}
	case eventlog.InfoCleared:
		dev.Info, dev.InfoSequence = nil, e.Sequence
		v.touchDevice(dev)
	}
}

func (v *View) applyDesired(e *eventlog.Event) error {
	if e.Namespace == "" {
		return fmt.Errorf("%w: no header %s", eventlog.ErrForeign, eventlog.HeaderNamespace)
	}
	dev := v.device(e.Address.Device)
	dev.LastDesired = e.Sequence
	if e.Type != eventlog.DesiredAssigned && e.Type != eventlog.DesiredWithdrawn {
		return nil // a newer writer's: nothing that this fold knows to do
	}
	p := v.pair(dev, e.Address.Deployment)
	switch key := (Key{e.Namespace, e.Address.Deployment}); e.Type {
	case eventlog.DesiredAssigned:
		d := v.deployment(key)
		hash := d.Spec.ScoreHash
		if hash == "" || !bytes.Equal(e.Data, d.Spec.Score) {
			hash = eventlog.Hash(e.Data)
		}
		v.change(p, func() {
			v.detach(p)
			p.Key = &d.Key
			d.attach(p)
			p.Desired = Desired{Sequence: e.Sequence, Hash: v.intern(hash), Revision: e.Revision, At: e.Time.UTC()}
		})
	case eventlog.DesiredWithdrawn:
		v.change(p, func() {
			v.detach(p)
			p.Key = v.key(key)
			p.Desired = Desired{Sequence: e.Sequence, Revision: e.Revision, At: e.Time.UTC()}
		})
	}
	return nil
}

// attach gives the Deployment a place on the pair's device.
func (d *Deployment) attach(p *Pair) {
	p.Deployment, p.place = d, int32(len(d.pairs))
	d.pairs = append(d.pairs, p)
}

// detach takes it away: the last of the Deployment's pairs takes this one's place.
func (v *View) detach(p *Pair) {
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

// forget drops a pair that the log neither wants nor hears of: a withdrawn one
// whose report was cleared stays, since its delete marker counts in a sync.
func (v *View) forget(p *Pair) {
	if p.Deployment != nil || p.Desired.Sequence > 0 {
		return
	}
	if i, ok := p.Device.find(p.Name); ok {
		p.Device.pairs = slices.Delete(p.Device.pairs, i, i+1)
	}
}

func (v *View) applyDevice(e *eventlog.Event) error {
	dev := v.device(e.Address.Device)
	v.touchDevice(dev)
	switch e.Type {
	case eventlog.DeviceRegistered:
		dev.Registered, dev.RegisteredAt, dev.Decommissioned = true, e.Time.UTC(), false
	case eventlog.DeviceRelabeled:
		l, err := eventlog.Payload[eventlog.Labels](*e)
		if err != nil {
			return err
		}
		dev.Labels, dev.LabelsID = make(map[string]eventlog.OwnedLabel, len(l.Labels)), strings.Clone(e.ID)
		for k, o := range l.Labels {
			dev.Labels[v.intern(k)] = eventlog.OwnedLabel{Value: v.intern(o.Value), Owner: v.intern(o.Owner)}
		}
	case eventlog.DeviceOnline, eventlog.DeviceOffline:
		p, err := eventlog.Payload[eventlog.Presence](*e)
		if err != nil {
			return err
		}
		online := OnlineTrue
		if e.Type == eventlog.DeviceOffline {
			online = OnlineFalse
		}
		v.changePresence(dev, Presence{Online: online, Reason: v.intern(p.Reason), LastSeen: p.LastSeen.UTC(), Since: e.Time.UTC()})
	case eventlog.DeviceDecommissioned:
		dev.Decommissioned, dev.Registered = true, false
	}
	return nil
}

func (v *View) applyDeployment(e *eventlog.Event) error {
	d := v.deployment(Key{e.Address.Namespace, e.Address.Name})
	v.touchDeployment(d)
	mark := markOf(e)
	switch e.Type {
	case eventlog.DeploymentApplied:
		spec, err := eventlog.Payload[eventlog.Deployment](*e)
		if err != nil {
			return err
		}
		if spec.Revision != d.Spec.Revision {
			d.Rollout = Rollout{}
		}
		if spec.UID != d.Spec.UID || d.Lifecycle == "" || d.Lifecycle == Deleted {
			d.Created = e.Time.UTC()
		}
		d.Spec, d.Lifecycle, d.Applied, d.Withdraw = spec, Applied, mark, nil
	case eventlog.DeploymentAdopted:
		d.Lifecycle, d.Withdraw = Applied, nil
	case eventlog.DeploymentOrphaned:
		d.Lifecycle = Orphaned
	case eventlog.DeploymentDeleted:
		d.Lifecycle, d.Withdraw = Deleted, nil
	default:
		if e.Type.Family() != eventlog.FamilyDeployment {
			return nil // a newer writer's: nothing that this fold knows to do
		}
		r, err := eventlog.Payload[eventlog.Rollout](*e)
		if err != nil {
			return err
		}
		d.Rollout = Rollout{Rollout: r, Last: e.Type, At: e.Time.UTC()}
	}
	d.Changed = mark
	return nil
}

// markOf detaches the id from the message: it is a part of the whole header's text.
func markOf(e *eventlog.Event) Mark {
	return Mark{Sequence: e.Sequence, ID: strings.Clone(e.ID), At: e.Time.UTC()}
}

func (v *View) applyRequest(e *eventlog.Event) error {
	r, err := eventlog.Payload[eventlog.Request](*e)
	if err != nil {
		return err
	}
	d, ok := v.Deployments[Key{e.Address.Namespace, e.Address.Name}]
	if !ok || r.Verb != eventlog.RequestWithdraw || d.Lifecycle != Orphaned {
		return nil
	}
	d.Withdraw = &Request{Request: r, User: v.intern(e.Address.User), Mark: markOf(e)}
	v.touchDeployment(d)
	return nil
}

func (v *View) applyAccess(e *eventlog.Event) error {
	dev := v.device(e.Address.Device)
	v.touchDevice(dev)
	a, err := eventlog.Payload[eventlog.Access](*e)
	if err != nil {
		return err
	}
	switch e.Type {
	case eventlog.AccessRevoked:
		dev.Access = &a
	case eventlog.AccessAllowed:
		dev.Access = nil
		dev.Traffic.leak(e.Recorded)
	}
	return nil
}

func (v *View) device(id string) *Device {
	d, ok := v.Devices[id]
	if !ok {
		id = strings.Clone(id)
		d = &Device{ID: id}
		v.Devices[id] = d
	}
	return d
}

func (v *View) deployment(k Key) *Deployment {
	d, ok := v.Deployments[k]
	if !ok {
		k = Key{v.intern(k.Namespace), v.intern(k.Name)}
		d = &Deployment{Key: k}
		v.Deployments[k] = d
	}
	return d
}

func (v *View) pair(dev *Device, name string) *Pair {
	i, ok := dev.find(name)
	if ok {
		return dev.pairs[i]
	}
	p := &Pair{Device: dev, Key: v.key(Key{Name: name})}
	dev.pairs = slices.Insert(dev.pairs, i, p)
	return p
}

func (v *View) touchDeployment(d *Deployment) {
	if v.touchedDeployments != nil && d != nil {
		v.touchedDeployments[d] = struct{}{}
	}
}

func (v *View) touchDevice(d *Device) {
	if v.touchedDevices != nil {
		v.touchedDevices[d] = struct{}{}
	}
}
