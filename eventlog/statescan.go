package eventlog

// Keep gives the string of some bytes: whoever has it already need not copy it.
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
	stateFields = fields{
		stringField("device_id"), stringField("deployment"), stringField("phase"), stringField("last_event_at"), otherField("last_error"),
		stringField("reason"), stringField("score_hash"), otherField("revision"), otherField("services"),
	}
	serviceFields = fields{
		stringField("name"), stringField("container_id"), stringField("image_digest"), stringField("state"), stringField("health"),
		otherField("restarts"), otherField("ports"), otherField("revision"),
	}
)

// scanState reads a DeploymentState in its plain shape: known keys in their own
// spelling, strings without escapes, no null but for last_error. It is false for
// all else, be it valid or not.
//
// Names that are the subject's own are not copied.
func scanState(s *DeploymentState, b []byte, a *Address, hash string, keep Keep) bool {
	p := newScanner(b)
	for i := p.open(stateFields); i >= 0; i = p.next(stateFields, i) {
		switch i {
		case 0:
			s.DeviceID = same(p.tail(), a.Device)
		case 1:
			s.Deployment = same(p.tail(), a.Deployment)
		case 2:
			s.Phase = phaseOf(p.tail())
		case 3:
			s.LastEventAt = p.time()
		case 4:
			s.LastError = nil
			if !p.null() {
				t := string(p.text())
				s.LastError = &t
			}
		case 5:
			s.Reason = keep.text(p.tail())
		case 6:
			if s.ScoreHash = hash; !p.likely(hash) {
				s.ScoreHash = keep.text(p.tail())
			}
		case 7:
			s.Revision = p.number()
		case 8:
			for ok := p.begin('[', ']'); ok; ok = p.more(']') {
				scanService(&p)
			}
		}
	}
	return p.end()
}

// scanService passes over one element of services, which must be a plain one too.
func scanService(p *scanner) {
	for i := p.open(serviceFields); i >= 0; i = p.next(serviceFields, i) {
		switch i {
		case 5:
			p.number()
		case 6:
			for ok := p.begin('[', ']'); ok; ok = p.more(']') {
				p.text()
			}
		default:
			p.tail()
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
