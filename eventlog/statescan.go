package eventlog

import "fleet.nationtech.io/eventlog/plainjson"

// Keep gives the string of some bytes: anyone who has it already need not copy it.
// A nil Keep copies.
type Keep func([]byte) string

func (k Keep) text(b []byte) string {
	if k == nil {
		return string(b)
	}
	return k(b)
}

// Report decodes a state.reported as State does, but leaves Services out: it is
// what a fold keeps. Most of a log is reports, so one in the shape that agents
// write is read without reflection; every other goes the way of State. The
// verdict is the same either way, as FuzzReport proves.
//
// hash is the score's that the device was told, and so the one that it most
// likely reports: text that JSON does not escape, as a Hash is. What it says
// again and again goes through keep.
func (e *Event) Report(hash string, keep Keep) (DeploymentState, error) {
	var s DeploymentState
	if scanState(&s, e.Data, &e.Address, hash, keep) {
		return s, s.check(&e.Address)
	}
	s, err := e.State()
	s.Services = nil
	return s, err
}

// The fields of a report in the order in which encoding/json writes them.
var (
	stateFields = plainjson.Fields{
		plainjson.StringField("device_id"), plainjson.StringField("deployment"), plainjson.StringField("phase"), plainjson.StringField("last_event_at"), plainjson.OtherField("last_error"),
		plainjson.StringField("reason"), plainjson.StringField("score_hash"), plainjson.OtherField("revision"), plainjson.OtherField("assignment"), plainjson.OtherField("services"),
	}
	serviceFields = plainjson.Fields{
		plainjson.StringField("name"), plainjson.StringField("container_id"), plainjson.StringField("image_digest"), plainjson.StringField("state"), plainjson.StringField("health"),
		plainjson.OtherField("restarts"), plainjson.OtherField("ports"), plainjson.OtherField("revision"),
	}
)

// scanState reads a DeploymentState in its plain shape: known keys in their own
// spelling, strings without escapes, no null but for last_error. It is false for
// all else, be it valid or not.
//
// Names that are the subject's own are not copied.
func scanState(s *DeploymentState, b []byte, a *Address, hash string, keep Keep) bool {
	p := plainjson.NewScanner(b)
	for i := p.Open(stateFields); i >= 0; i = p.Next(stateFields, i) {
		switch i {
		case 0:
			s.DeviceID = same(p.Tail(), a.Device)
		case 1:
			s.Deployment = same(p.Tail(), a.Deployment)
		case 2:
			s.Phase = phaseOf(p.Tail())
		case 3:
			s.LastEventAt = p.Time()
		case 4:
			s.LastError = nil
			if !p.Null() {
				t := string(p.Text())
				s.LastError = &t
			}
		case 5:
			s.Reason = keep.text(p.Tail())
		case 6:
			if s.ScoreHash = hash; !p.Likely(hash) {
				s.ScoreHash = keep.text(p.Tail())
			}
		case 7:
			s.Revision = p.Number()
		case 8:
			s.Assignment = p.Number()
		case 9:
			for ok := p.Begin('[', ']'); ok; ok = p.More(']') {
				scanService(&p)
			}
		}
	}
	return p.End()
}

// scanService passes over one element of services, which must be a plain one too.
func scanService(p *plainjson.Scanner) {
	for i := p.Open(serviceFields); i >= 0; i = p.Next(serviceFields, i) {
		switch i {
		case 5:
			p.Number()
		case 6:
			for ok := p.Begin('[', ']'); ok; ok = p.More(']') {
				p.Text()
			}
		default:
			p.Tail()
		}
	}
}

func same(b []byte, name string) string {
	if string(b) == name {
		return name
	}
	return string(b)
}

// phaseOf spares the copy of a phase of the contract.
func phaseOf(b []byte) Phase {
	switch string(b) {
	case string(PhasePending):
		return PhasePending
	case string(PhaseRunning):
		return PhaseRunning
	case string(PhaseFailed):
		return PhaseFailed
	}
	return Phase(b)
}
