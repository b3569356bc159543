package fleet

import "fleet.nationtech.io/eventlog"

// Assignment is one Deployment's name on one device: what it should run and what it
// reports.
type Assignment struct {
	// Key has the name; and the namespace of the Deployment which the last desired
	// event spoke of, empty where the log never knew one. Pairs share it, so it is
	// not to be changed.
	*Key
	Device *Device
	// Deployment holds the place while assigned; nil once withdrawn, and where
	// the log never knew what the device reports.
	Deployment *Deployment
	Desired    Desired
	Reported   Reported

	Since Moment // when the present verdict began: succeeded, failed or neither
	Begun Moment // when its deadline began
	Batch int32  // of the run that gave it, as the assignment says; 0: outside of one
	// place is where the Deployment holds the pair.
	place int32
	// Upset: what is desired replaced another content there while the device was online.
	Upset bool
	// Lost: it was upset, and went offline before it succeeded.
	Lost bool
	// WrittenOff: it was lost when its batch was judged.
	WrittenOff bool
	// Returned: Since began because the device came online again, and ran it already.
	Returned bool
	// Counted: it succeeded, and is among those that its run counted.
	Counted bool
	// Gone: it was withdrawn because of labels or the selector, not with its Deployment.
	Gone bool
	// old: what was reported names no hash, and happened before what is desired
	// was, though the log has it after.
	old bool
}

// Desired is the last thing that the log said should run.
type Desired struct {
	Sequence uint64 // 0: the log never knew it
	// Changed is the sequence of the assignment that brought the hash: a later one
	// of the same hash, with another number, unsettles no device.
	Changed uint64
	Hash    string // empty once withdrawn
	// Template is the hash of the score from which it was rendered for the device; nil
	// where all devices get the same. Few pairs have one, and a nil takes half of an empty
	// text.
	Template *string
	Revision uint64
	At       Moment // by the operator's clock
	Recorded Moment // by the log's
}

// Reported is the last thing that the device said of it.
type Reported struct {
	Sequence uint64 // 0: nothing, or cleared
	Phase    eventlog.Phase
	Hash     string
	Reason   string
	Error    string
	Revision uint64
	// Assignment is the sequence of the desired value that it speaks of; 0 where the
	// agent did not say it.
	Assignment uint64
	At         Moment // by the device's clock
	Recorded   Moment // by the log's
}

// Has says whether what is assigned there came from a target, whichever values were
// filled in for the device. It is so for what is literally the target's too.
func (p *Assignment) Has(t *Target) bool {
	if from := p.Desired.Template; from != nil {
		return *from == t.Hash
	}
	return p.Desired.Hash == t.Hash
}

// Assigned says whether the log wants the Deployment on the device.
func (p *Assignment) Assigned() bool { return p.Deployment != nil }

// Withdrawn says whether the log took it off the device. What was never
// assigned was never withdrawn either.
func (p *Assignment) Withdrawn() bool { return p.Deployment == nil && p.Desired.Sequence > 0 }

// Updated: the device reported score_hash equal to the hash of its desired
// value; a report without one, from an older agent, counts if it is later in
// the log than the assignment.
func (p *Assignment) Updated() bool {
	if p.Deployment == nil || p.Reported.Sequence == 0 {
		return false
	}
	if p.Reported.Hash == "" {
		return p.Reported.Sequence > p.Desired.Sequence && !p.old
	}
	return p.Reported.Hash == p.Desired.Hash
}

// Confirmed: the report speaks of what is desired now, not of an earlier
// assignment of the same score: it names an assignment at or after the one that
// brought the hash. One that names none, from an older agent, is later in the log
// than that assignment, and no earlier revision's. A report without a hash confirms
// nothing.
func (p *Assignment) Confirmed() bool {
	d, r := &p.Desired, &p.Reported
	switch {
	case p.Deployment == nil || r.Hash == "" || r.Hash != d.Hash:
		return false
	case r.Assignment > 0:
		return r.Assignment >= d.Changed
	}
	return (r.Revision == 0 || r.Revision == d.Revision) && r.Sequence > d.Changed && !p.old
}

// Answered: the device spoke of what is desired now: the report is confirmed, or
// has no hash, as those of the oldest agents, and is later than the assignment.
func (p *Assignment) Answered() bool {
	return p.Confirmed() || p.Reported.Hash == "" && p.Updated()
}

// Succeeded: answered, and Running.
func (p *Assignment) Succeeded() bool {
	return p.Reported.Phase == eventlog.PhaseRunning && p.Answered()
}

// Failed: answered, and Failed.
func (p *Assignment) Failed() bool { return p.Reported.Phase == eventlog.PhaseFailed && p.Answered() }

// Disturbed: unavailable through a rollout.
func (p *Assignment) Disturbed() bool {
	return p.Deployment != nil && p.Upset && !p.WrittenOff && !p.Succeeded()
}

// Leaving: it was withdrawn from an online device though its Deployment goes on, and
// the device has not taken it off.
func (p *Assignment) Leaving() bool {
	return p.Withdrawn() && p.Gone && p.Reported.Sequence > 0 && p.Device.Presence.Online == OnlineTrue
}
