package explain

import (
	"iter"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/timeline"
)

// evidence is what a device's part of the log says: the view, which has the
// predicates, and beside it the events that prove what it says.
type evidence struct {
	o    timeline.Options
	id   string
	view *fleet.View
	last *mark             // the end of what was read
	ids  map[string]uint64 // of events that others name as their cause

	registered, labels, presence, access, gone, started, info *mark

	accessRequest *mark // a person's request to revoke or to allow its access, the last one
	leaving       *mark // a person's request to decommission it, since it last came
	leavingBy     string

	places map[string]*assignmentMarks // by the Deployment's name
	specs  map[fleet.Key]*specMarks

	question Question
	// rollouts are the events of Deployments, by their sequence in the view.
	rollouts map[uint64]*mark
	whole    *fleet.View // the fleet; nil: not asked for yet
	failed   error       // to ask for it
	waits    map[fleet.Key]rollout.Wait
}

// specMarks prove what the log knows of one Deployment.
type specMarks struct {
	revisions map[uint64]*appliedMark // the event that brought each
	now       *appliedMark
	turned    *mark // deleted, orphaned or adopted, since it was applied
	started   *mark // the start of the run
	rollout   *mark // the last event of the run
	told      eventlog.Rollout
	asked     *mark // a person's request, since then
	askedBy   string
}

type appliedMark struct {
	mark
	spec eventlog.Deployment
}

// assignmentMarks prove what the log knows of one Deployment's name on the device.
type assignmentMarks struct {
	desired  *mark
	assigned *mark // the last that assigned it
	held     fleet.Key
	reported *mark // the first report that said what the last one says
	latest   *mark // the last report
	repeats  int   // reports since the first that said so
	said     saying
	cleared  *mark
	steps    []step
}

// saying is what is compared of two reports.
type saying struct {
	phase         eventlog.Phase
	reason, error string
	revision      uint64
}

// alike says whether two reports say the same: an error that counts its tries
// is the same one.
func (s saying) alike(o saying) bool {
	return s.phase == o.phase && s.reason == o.reason && s.revision == o.revision && timeline.WithoutDigits(s.error) == timeline.WithoutDigits(o.error)
}

// step is what the agent did to one service since the Deployment was assigned.
type step struct {
	mark
	eventlog.Step
	repeats int
	latest  uint64
}

// same says whether a step is the one that was told, but for what its error
// counts.
func (s *step) same(o eventlog.Step) bool {
	return s.Service == o.Service && s.Step.Step == o.Step && s.Reason == o.Reason && s.Revision == o.Revision && timeline.WithoutDigits(s.Error) == timeline.WithoutDigits(o.Error)
}

// maxSteps bounds what is kept of an agent that tries again and again.
const maxSteps = 64

func newEvidence(q Question, o timeline.Options) *evidence {
	return &evidence{
		o: o, id: q.Device, view: fleet.New(), ids: map[string]uint64{}, question: q, rollouts: map[uint64]*mark{},
		places: map[string]*assignmentMarks{}, specs: map[fleet.Key]*specMarks{}, waits: map[fleet.Key]rollout.Wait{},
	}
}

func (s *evidence) read(events iter.Seq2[eventlog.Event, error]) error {
	return s.o.Each(events, func(r timeline.Record) {
		if d := r.Address.Device; d != "" && d != s.id {
			return
		}
		if !s.o.Fold(s.view, r) {
			return
		}
		s.last = markOf(r)
		if r.ID != "" {
			s.ids[r.ID] = r.Sequence
		}
		s.keep(r)
	})
}

func (s *evidence) place(name string) *assignmentMarks {
	p := s.places[name]
	if p == nil {
		p = &assignmentMarks{}
		s.places[name] = p
	}
	return p
}

func (s *evidence) spec(k fleet.Key) *specMarks {
	m := s.specs[k]
	if m == nil {
		m = &specMarks{revisions: map[uint64]*appliedMark{}}
		s.specs[k] = m
	}
	return m
}

func (s *evidence) keep(r timeline.Record) {
	m := markOf(r)
	switch r.Address.Family {
	case eventlog.FamilyRequest:
		if r.Address.Device == "" {
			s.keepSpec(r, m)
		} else if d := s.device(); d != nil && d.Leaving != nil && d.Leaving.Mark.ID == r.ID {
			s.leaving, s.leavingBy = m, r.Address.User
		} else if d != nil && d.AccessRequest != nil && d.AccessRequest.Mark.ID == r.ID {
			s.accessRequest = m
		}
	case eventlog.FamilyDeployment:
		s.rollouts[s.view.Sequence] = m
		s.keepSpec(r, m)
	case eventlog.FamilyDesired:
		p := s.place(r.Address.Deployment)
		p.desired, p.held = m, fleet.Key{Namespace: r.Namespace, Name: r.Address.Deployment}
		p.steps, p.cleared = nil, nil
		if r.Type == eventlog.DesiredAssigned {
			p.assigned = m
		}
	case eventlog.FamilyState:
		s.keepReport(r, m)
	case eventlog.FamilyAgent:
		s.keepStep(r, m)
	case eventlog.FamilyInfo:
		s.info = m
	case eventlog.FamilyAccess:
		s.access = m
		if r.Type == eventlog.AccessAllowed {
			if s.gone != nil { // what it was before is over
				s.registered, s.presence = nil, nil
			}
			s.gone, s.leaving = nil, nil
		}
	case eventlog.FamilyDevice:
		switch r.Type {
		case eventlog.DeviceRegistered:
			if d := s.device(); d.Decommissioned {
				return
			}
			s.registered = m
		case eventlog.DeviceRelabeled:
			s.labels = m
		case eventlog.DeviceOnline, eventlog.DeviceOffline:
			s.presence = m
		case eventlog.DeviceDecommissioned:
			if s.gone == nil {
				s.gone, s.labels, s.info = m, nil, nil
			}
		}
	}
}

func (s *evidence) keepSpec(r timeline.Record, m *mark) {
	d := s.spec(fleet.Key{Namespace: r.Address.Namespace, Name: r.Address.Name})
	switch r.Type {
	case eventlog.DeploymentApplied:
		spec, err := eventlog.Payload[eventlog.Deployment](r.Event)
		if err != nil {
			return // the view skipped it
		}
		d.now = &appliedMark{mark: *m, spec: spec}
		if first := d.revisions[spec.Revision]; first == nil || d.turned != nil && d.turned.kind == eventlog.DeploymentDeleted {
			d.revisions[spec.Revision] = d.now
		}
		d.turned, d.asked = nil, nil
	case eventlog.DeploymentDeleted, eventlog.DeploymentOrphaned, eventlog.DeploymentAdopted:
		d.turned = m
	case eventlog.DeploymentRefused: // what its devices run stays
	case eventlog.RequestMade:
		if q, err := eventlog.Payload[eventlog.Request](r.Event); err == nil && q.Verb == eventlog.RequestWithdraw {
			d.asked, d.askedBy = m, r.Address.User
		}
	default:
		told, err := eventlog.Payload[eventlog.Rollout](r.Event)
		if err != nil || r.Type.Family() != eventlog.FamilyDeployment || r.Type == eventlog.RolloutRequestRefused {
			return
		}
		if r.Type == eventlog.RolloutStarted {
			d.started = m
		}
		d.rollout, d.told = m, told
	}
}

func (s *evidence) keepReport(r timeline.Record, m *mark) {
	p := s.place(r.Address.Deployment)
	if r.Type == eventlog.StateCleared {
		p.cleared, p.reported, p.latest, p.said, p.repeats = m, nil, nil, saying{}, 0
		return
	}
	st, err := r.State()
	if err != nil {
		return // the view skipped it
	}
	said := saying{phase: st.Phase, reason: st.Reason, revision: st.Revision}
	if st.LastError != nil {
		said.error = *st.LastError
	}
	p.latest, p.cleared = m, nil
	if p.reported != nil && p.said.alike(said) {
		p.repeats++
		p.said = said
		return
	}
	p.reported, p.said, p.repeats = m, said, 0
}

func (s *evidence) keepStep(r timeline.Record, m *mark) {
	if r.Type == eventlog.AgentStarted {
		s.started = m
		return
	}
	st, err := eventlog.Payload[eventlog.Step](r.Event)
	if err != nil || r.Type.Family() != eventlog.FamilyAgent {
		return
	}
	p := s.place(st.Deployment)
	// What drifts and is repaired again and again are two steps that count.
	for n := len(p.steps); n > max(0, len(p.steps)-2); n-- {
		if l := &p.steps[n-1]; l.kind == r.Type && l.same(st) {
			l.repeats++
			l.latest = r.Sequence
			return
		}
	}
	p.steps = append(p.steps, step{mark: *m, Step: st, latest: r.Sequence})
	if len(p.steps) > maxSteps {
		p.steps = slices.Delete(p.steps, 1, 2) // the first says how it began
	}
}

// device is what the view knows of the device; nil is nothing.
func (s *evidence) device() *fleet.Device { return s.view.Devices[s.id] }

// nothing makes a sentence that something is not in the log up to its end.
func (s *evidence) nothing(text string) Sentence {
	n := Sentence{Text: text}
	if s.last != nil {
		n.Sequence, n.Time = s.last.Sequence, s.last.at.UTC()
	}
	n.Sequence = max(n.Sequence, s.o.AsOf)
	return n
}

// citing makes a sentence of an event, or of its absence.
func (s *evidence) citing(m *mark, text string) Sentence {
	if m == nil {
		return s.nothing(text)
	}
	c := m.cite(text)
	if m.cause != "" {
		c.Because = s.ids[m.cause]
	}
	return c
}

// now is the end of what was read, on the axis of the answer.
func (s *evidence) now() time.Time {
	if s.last == nil {
		return time.Time{}
	}
	return s.last.at
}
