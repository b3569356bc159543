package timeline

import (
	"fmt"
	"iter"
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/viewdiff"
)

// OfDevice tells a device's history: registered, relabelled, online and offline,
// what it was assigned and what it made of that, its agent's steps, commands and
// access. What is said again and again is one entry that counts. The events are
// those of DeviceSubjects, or more. It fails with what reading them fails with.
func OfDevice(events iter.Seq2[eventlog.Event, error], device string, o Options) (*History, error) {
	f := &deviceTimeline{
		h:  &History{Kind: KindDevice, Name: device, AsHappened: o.AsHappened},
		id: device, ids: map[string]uint64{}, rows: map[string][]int{}, held: map[string]*holding{},
	}
	err := o.Each(events, func(r Record) {
		if r.Address.Device != device {
			return
		}
		if r.foreign != nil || eventlog.Check(r.Event) != nil {
			f.h.Foreign++
			return
		}
		f.h.Until = PositionOf(r)
		if r.ID != "" {
			f.ids[r.ID] = r.Sequence
		}
		if f.out && (r.Type == eventlog.StateReported || r.Type == eventlog.InfoReported) {
			f.h.Foreign++ // the fleet ignores it
			return
		}
		f.fold(r)
	})
	if err != nil {
		return nil, err
	}
	return f.h, nil
}

// deviceTimeline folds a device's history.
type deviceTimeline struct {
	h        *History
	id       string
	ids      map[string]uint64   // of events that others name as their cause
	rows     map[string][]int    // topic to its entries, to notice what is said again
	held     map[string]*holding // by the Deployment's name
	labels   map[string]eventlog.OwnedLabel
	info     *eventlog.DeviceInfo
	presence *Record
	asked    string // id of the last request to decommission it
	out      bool   // it is decommissioned
}

// holding is what the log last said that the device should run of one name.
type holding struct {
	name      string // NAMESPACE/NAME
	score     []byte // the last that was assigned
	withdrawn bool
}

func (f *deviceTimeline) fold(r Record) {
	switch r.Address.Family {
	case eventlog.FamilyDevice:
		f.device(r)
	case eventlog.FamilyInfo:
		f.infos(r)
	case eventlog.FamilyDesired:
		f.desired(r)
	case eventlog.FamilyState:
		f.state(r)
	case eventlog.FamilyAgent:
		f.agent(r)
	default:
		f.persons(r)
	}
}

// add appends an entry.
func (f *deviceTimeline) add(r Record, e Entry) {
	e.Position, e.Type, e.Cause, e.TraceID = PositionOf(r), r.Type, f.ids[r.CausationID], r.TraceID()
	f.h.Entries = append(f.h.Entries, e)
}

// again appends an entry about a topic, or counts it to the one that said the
// same. So does a row that goes to and fro, such as a container that crashes and
// is started again: once two rounds were told, the rest is counted.
func (f *deviceTimeline) again(topic string, r Record, e Entry) {
	rows := f.rows[topic]
	n := len(rows)
	same := func(back int) bool { return n >= back && f.same(rows[n-back], e) }
	for _, back := range []int{1, 2, 3} {
		if !same(back) || back > 1 && !f.twice(rows, back) {
			continue
		}
		told := &f.h.Entries[rows[n-back]]
		told.Repeats++
		told.Last, told.Error = r.Sequence, e.Error
		return
	}
	f.add(r, e)
	f.rows[topic] = append(rows, len(f.h.Entries)-1)
}

// twice says whether the last rows are two rounds of one length.
func (f *deviceTimeline) twice(rows []int, round int) bool {
	n := len(rows)
	if n < 2*round {
		return false
	}
	for i := n - round; i < n; i++ {
		if !f.same(rows[i-round], f.h.Entries[rows[i]]) {
			return false
		}
	}
	return true
}

// same says whether an entry was told already, but for its time and for what its
// error counts.
func (f *deviceTimeline) same(at int, e Entry) bool {
	o := f.h.Entries[at]
	return o.Text == e.Text && WithoutDigits(o.Error) == WithoutDigits(e.Error) && o.Reason == e.Reason && o.Revision == e.Revision && o.Type == typeOr(e.Type, o.Type)
}

func typeOr(t, other eventlog.Type) eventlog.Type {
	if t == "" {
		return other
	}
	return t
}

// qualified is a Deployment's name with the namespace that the device's last desired
// event gave it.
func (f *deviceTimeline) qualified(name string) string {
	if h := f.held[name]; h != nil {
		return h.name
	}
	return name
}

func (f *deviceTimeline) desired(r Record) {
	name := r.Address.Deployment
	if r.Namespace == "" {
		f.h.Foreign++
		return
	}
	full := r.Namespace + "/" + name
	before := f.held[name]
	e := Entry{Deployment: full, Revision: r.Revision}
	if r.Type == eventlog.DesiredWithdrawn {
		e.Text = full + " was withdrawn"
		switch {
		case before != nil && before.withdrawn:
			e.Text += " again: the device still reported it"
		case r.CausationID != "" && r.CausationID == f.asked:
			e.Text += ": the device leaves the fleet"
		case f.ids[r.CausationID] != 0:
			e.Text += ": its labels no longer match"
		}
		var score []byte
		if before != nil {
			score = before.score
		}
		f.held[name] = &holding{name: full, score: score, withdrawn: true}
		f.add(r, e)
		return
	}
	e.Text = full + " was assigned"
	if e.Batch = r.Batch; e.Batch > 0 {
		e.Text += fmt.Sprintf(" in batch %d", e.Batch)
	}
	if before != nil && before.name == full {
		e.Changes = viewdiff.ScoreFields(before.score, r.Data)
	} else {
		e.Changes = viewdiff.ScoreFields(nil, r.Data)
	}
	f.held[name] = &holding{name: full, score: slices.Clone(r.Data)}
	f.add(r, e)
}

func (f *deviceTimeline) state(r Record) {
	name := r.Address.Deployment
	full := f.qualified(name)
	topic := "state " + name
	if r.Type == eventlog.StateCleared {
		f.again(topic, r, Entry{Deployment: full, Text: full + " is gone from the device"})
		return
	}
	s, err := r.State()
	if err != nil {
		return // checked before
	}
	e := Entry{
		Deployment: full, Revision: s.Revision, Phase: s.Phase, Reason: s.Reason,
		Text: full + " is reported " + string(s.Phase),
	}
	if s.LastError != nil {
		e.Error = *s.LastError
	}
	f.again(topic, r, e)
}
