package examine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/present"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

// buckets looks at each bucket: at its stream, and whether it has what its source has.
func (l *look) buckets(ctx context.Context) {
	for _, name := range eventlog.Buckets() {
		if err := l.bucket(ctx, name); err != nil {
			why := l.why(err)
			if !strings.Contains(why, name) {
				why = "bucket " + name + ": " + why
			}
			l.BucketsUnread = append(l.BucketsUnread, why)
			if ctx.Err() != nil || l.Conn.IsClosed() {
				return
			}
		}
	}
}

func (l *look) bucket(ctx context.Context, name string) error {
	b, replicas, err := present.Bucket(ctx, l.JS, l.stream, name)
	if err == nil {
		l.Buckets = append(l.Buckets, doctor.Bucket{Bucket: b, Replicas: replicas})
	}
	return err
}

// view looks at the fleet as the log has it.
func (l *look) view(ctx context.Context) {
	v, err := l.View(ctx)
	if err != nil {
		for _, check := range []string{doctor.CheckOperator, doctor.CheckVersions, doctor.CheckKeys} {
			l.without(check, err)
		}
		return
	}
	l.fleet = v
	now := l.Now().Add(l.Server.Ahead)
	o := &doctor.Operator{Leader: v.Leader.Identity, Version: v.Leader.Version, Elected: v.Leader.At}
	for _, i := range attention.Of(v, now, attention.Facts{}) {
		if i.Kind == attention.OperatorSilent {
			if o.Unanswered++; o.Since.IsZero() || i.Since.Before(o.Since) {
				o.Since = i.Since
			}
		}
	}
	l.Operator = o
	d := &doctor.Devices{Agents: map[string]int{}}
	d.Known, d.Online = v.CountDevices()
	for id, dev := range v.Devices {
		if !dev.Registered {
			continue
		}
		if dev.Info != nil && dev.Info.Inventory.AgentVersion != "" {
			d.Agents[dev.Info.Inventory.AgentVersion]++
		}
		switch attention.KeyReason(attention.KeyExpires(dev), now) {
		case attention.ReasonExpiresSoon:
			d.Ending = append(d.Ending, id)
		case attention.ReasonExpired:
			d.Ended = append(d.Ended, id)
		}
	}
	slices.Sort(d.Ending)
	slices.Sort(d.Ended)
	l.Devices = d
}

// pulseFaults looks at the stream of pulses. What cannot be asked has no faults.
func (l *look) pulseFaults(ctx context.Context) []string {
	ctx, cancel := asking(ctx)
	defer cancel()
	s, err := l.JS.Stream(ctx, eventlog.PulseStream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return []string{"it is not there"}
	case err != nil:
		return nil
	}
	return logstream.PulseFaults(s.CachedInfo().Config)
}

// wrongClock is from where on a device's clock is noted.
const wrongClock = 5 * time.Second

// pulses looks at the last pulse of each device: agents send the present time with it.
func (l *look) pulses(ctx context.Context) {
	p := &doctor.Pulses{Faults: l.pulseFaults(ctx)}
	for m, err := range reader.Stored(ctx, l.JS, eventlog.PulseStream, 0) {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			break
		}
		if err != nil {
			l.without(doctor.CheckPulses, err)
			return
		}
		device, ok := eventlog.DeviceOfPulse(m.Subject)
		if !ok {
			continue
		}
		if l.fleet != nil && (l.fleet.Devices[device] == nil || !l.fleet.Devices[device].Registered) {
			continue // what no device of the fleet says proves nothing
		}
		p.Heard++
		if m.Time.After(p.Newest) {
			p.Newest = m.Time
		}
		var h eventlog.Heartbeat
		if json.Unmarshal(m.Data, &h) != nil || h.At.IsZero() {
			continue
		}
		if ahead := h.At.Sub(m.Time); ahead.Abs() > wrongClock {
			p.Ahead = append(p.Ahead, doctor.DeviceClock{Device: device, Ahead: ahead})
		}
	}
	slices.SortFunc(p.Ahead, func(a, b doctor.DeviceClock) int {
		return cmp.Or(cmp.Compare(b.Ahead.Abs(), a.Ahead.Abs()), cmp.Compare(a.Device, b.Device))
	})
	l.Pulses = p
}

// operatorClock compares the clock of the operator that leads with the servers', at the
// newest of the events that it alone appends.
func (l *look) operatorClock(ctx context.Context) {
	if l.Operator == nil || l.fleet.Leader.Sequence == 0 {
		return
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	newest, err := reader.MessageAt(ctx, l.JS, eventlog.LogStream, l.fleet.Leader.Sequence)
	if err != nil {
		return
	}
	for _, subjects := range []string{
		eventlog.SealSubject, eventlog.FamilySubjects(eventlog.FamilyDevice), eventlog.FamilySubjects(eventlog.FamilyDeployment),
	} {
		if m, err := reader.LastMessage(ctx, l.JS, eventlog.LogStream, subjects); err == nil && m.Sequence > newest.Sequence {
			newest = m
		}
	}
	if e, err := eventlog.Decode(newest.Subject, newest.Header, newest.Data, newest.Sequence, newest.Time); err == nil {
		l.Operator.Ahead, l.Operator.Known = e.Time.Sub(newest.Time), true
	}
}

// sealsAside is how many seals in a row may follow a seal.
const sealsAside = 16

// seal looks for the last seal, and for the first event that none covers.
func (l *look) seal(ctx context.Context) {
	ctx, cancel := asking(ctx)
	defer cancel()
	s := &doctor.Seal{}
	m, err := reader.LastMessage(ctx, l.JS, eventlog.LogStream, eventlog.SealSubject)
	if err == nil {
		e, decoded := eventlog.Decode(m.Subject, m.Header, m.Data, m.Sequence, m.Time)
		said, read := eventlog.Payload[eventlog.Seal](e)
		if err = errors.Join(decoded, read); err == nil {
			s.Sequence, s.At = said.Sequence, m.Time
		}
	} else if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = nil
	}
	next := max(s.Sequence+1, l.stream.First)
	for n := 0; err == nil && next <= l.stream.Last && n < sealsAside; n++ {
		if m, err = reader.MessageAt(ctx, l.JS, eventlog.LogStream, next); err != nil {
			break
		}
		if m.Subject != eventlog.SealSubject { // a seal is covered by the next one alone
			s.Uncovered, s.Since = l.stream.Last-next+1, m.Time
			break
		}
		next++
	}
	if err != nil {
		l.without(doctor.CheckSeals, err)
		return
	}
	l.Seal = s
}

// checkpoints looks for the newest saved view that this version can use.
func (l *look) checkpoints(ctx context.Context) {
	ctx, cancel := asking(ctx)
	defer cancel()
	all, err := checkpoint.Store{JS: l.JS}.List(ctx)
	if err != nil {
		l.without(doctor.CheckCheckpoints, err)
		return
	}
	c := &doctor.Checkpoints{}
	for _, k := range all {
		if k.Fold == fleet.FoldVersion && k.LogID == l.stream.ID && k.Sequence <= l.stream.Last {
			c.Usable = max(c.Usable, k.Sequence)
		} else {
			c.Others++
		}
	}
	l.Checkpoints = c
}
