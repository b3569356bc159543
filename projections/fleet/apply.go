package fleet

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

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
	v.at(&e)
	var dev *Device
	if e.Address.Family.OfDevices() && e.Address.Device != "" {
		dev = v.device(e.Address.Device)
		v.accountTraffic(dev, &e)
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

// at moves the view to an event.
func (v *View) at(e *eventlog.Event) {
	v.Sequence, v.Recorded = e.Sequence, e.Recorded.UTC()
	if v.Recorded.After(v.Clock) {
		v.Clock = v.Recorded
	}
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
	case eventlog.FamilyBudget:
		return v.applyBudget(e)
	}
	return nil
}

func (v *View) applyDevice(e *eventlog.Event) error {
	dev := v.device(e.Address.Device)
	if dev.Decommissioned {
		return nil // it has left, until its access is allowed
	}
	v.touchDevice(dev)
	switch e.Type {
	case eventlog.DeviceRegistered:
		dev.Registered, dev.RegisteredAt = true, e.Time.UTC()
	case eventlog.DeviceRelabeled:
		l, err := eventlog.Payload[eventlog.Labels](*e)
		if err != nil {
			return err
		}
		dev.Labels, dev.LabelsID = make(map[string]eventlog.OwnedLabel, len(l.Labels)), strings.Clone(e.ID)
		dev.LabelsSequence = e.Sequence
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
		v.decommission(dev, e)
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
		d.Spec, d.Lifecycle, d.Applied, d.Withdraw, d.Refused = spec, Applied, mark, nil, nil
		was, rate := d.Settings.Paused, d.Settings.Rate
		d.Settings = settingsOf(spec.Rollout)
		if !reflect.DeepEqual(rate, d.Settings.Rate) {
			d.Run.Next = time.Time{} // what the former rate said binds nobody
		}
		if was && !d.Settings.Paused && d.Run.Phase.Moving() {
			v.renewRun(d)
		}
		d.learnContent()
		d.Trace.begin(e, &d.Spec)
	case eventlog.DeploymentAdopted:
		d.Lifecycle, d.Withdraw = Applied, nil
	case eventlog.DeploymentOrphaned:
		d.Lifecycle, d.Refused = Orphaned, nil
	case eventlog.DeploymentDeleted:
		d.Lifecycle, d.Withdraw, d.Refused = Deleted, nil, nil
		d.forgetRuns()
	case eventlog.DeploymentRefused:
		r, err := eventlog.Payload[eventlog.Refusal](*e)
		if err != nil {
			return err
		}
		d.Refused = &r
	default:
		if e.Type.Family() != eventlog.FamilyDeployment {
			return nil // a newer writer's: nothing that this fold knows to do
		}
		r, err := eventlog.Payload[eventlog.Rollout](*e)
		if err != nil {
			return err
		}
		if e.Type != eventlog.RolloutRequestRefused && e.Type != eventlog.RolloutGateMeasured {
			d.Rollout = Rollout{Last: e.Type, Revision: r.Revision, Reason: r.Reason, Devices: r.Devices, Strategy: r.Strategy, At: e.Time.UTC()}
		}
		v.applyRollout(d, e, &r)
	}
	d.Changed = mark
	return nil
}

var rolloutVerbs = eventlog.RolloutVerbs()

// settingsOf reads spec.rollout. What a newer operator recorded and this one cannot
// read is as if it had not been said.
func settingsOf(raw json.RawMessage) (s eventlog.RolloutSettings) {
	if len(raw) > 0 && json.Unmarshal(raw, &s) != nil {
		return eventlog.RolloutSettings{}
	}
	return s
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
	if e.Address.Device != "" {
		v.applyDeviceRequest(e, r)
		return nil
	}
	d, ok := v.Deployments[Key{e.Address.Namespace, e.Address.Name}]
	if !ok {
		return nil
	}
	if slices.Contains(rolloutVerbs, r.Verb) {
		v.applyRolloutRequest(d, e, r)
		return nil
	}
	if r.Verb != eventlog.RequestWithdraw || d.Lifecycle != Orphaned {
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
	dev.AccessRequest = nil // answered, or overtaken
	switch e.Type {
	case eventlog.AccessRevoked:
		dev.Access = &a
	case eventlog.AccessAllowed:
		dev.Access = nil
		dev.Traffic.leak(e.Recorded)
		dev.Decommissioned, dev.Leaving, dev.Late = false, nil, nil
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
		v.named[k.Name] = append(v.named[k.Name], d)
	}
	return d
}

func (v *View) touchDeployment(d *Deployment) {
	if d == nil {
		return
	}
	for _, c := range v.watchers {
		c.deployments[d] = struct{}{}
	}
}

func (v *View) touchDevice(d *Device) {
	for _, c := range v.watchers {
		c.devices[d] = struct{}{}
	}
}
