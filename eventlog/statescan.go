package eventlog

import (
	"bytes"
	"encoding/binary"
	"time"
	"unicode/utf8"
)

// Report decodes a state.reported as State does, but leaves Services out: it is
// what a fold keeps. Most of a log is reports, so one in the shape that agents
// write is read without reflection; every other goes the way of State. The
// verdict is the same either way, as FuzzReport proves.
func (e Event) Report() (DeploymentState, error) {
	if s, ok := scanState(e.Data, e.Address); ok {
		return s, s.check(e)
	}
	s, err := e.State()
	s.Services = nil
	return s, err
}

// scanState reads a DeploymentState in its plain shape: known keys in their own
// spelling, strings without escapes, no null but for last_error. It is false for
// all else, be it valid or not.
//
// Names that are the subject's own are not copied.
func scanState(b []byte, a Address) (DeploymentState, bool) {
	var s DeploymentState
	p := scanner{rest: b}
	p.each('{', '}', func() {
		switch string(p.key()) {
		case "device_id":
			s.DeviceID = same(p.text(), a.Device)
		case "deployment":
			s.Deployment = same(p.text(), a.Deployment)
		case "phase":
			s.Phase = phaseOf(p.text())
		case "last_event_at":
			s.LastEventAt = p.time()
		case "last_error":
			s.LastError = nil
			if !p.null() {
				t := string(p.text())
				s.LastError = &t
			}
		case "reason":
			s.Reason = string(p.text())
		case "score_hash":
			s.ScoreHash = string(p.text())
		case "revision":
			s.Revision = p.number()
		case "services":
			p.each('[', ']', p.service)
		default:
			p.bad = true
		}
	})
	return s, !p.bad && p.next() == 0 && len(p.rest) == 0
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

// scanner reads plain JSON from the front of rest. Once it is bad it stays so,
// and further reads give nothing of meaning.
type scanner struct {
	rest []byte
	bad  bool
}

// next gives the next byte that is no white space, without taking it; 0 at the
// end.
func (p *scanner) next() byte {
	for i, c := range p.rest {
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			p.rest = p.rest[i:]
			return c
		}
	}
	p.rest = nil
	return 0
}

func (p *scanner) taken(c byte) bool {
	if p.next() != c || len(p.rest) == 0 {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *scanner) take(c byte) { p.bad = p.bad || !p.taken(c) }

// each calls element at the start of each element of an object or an array.
func (p *scanner) each(from, to byte, element func()) {
	p.take(from)
	if p.bad || p.taken(to) {
		return
	}
	for element(); !p.bad && !p.taken(to); {
		if p.take(','); !p.bad {
			element()
		}
	}
}

func (p *scanner) key() []byte {
	k := p.text()
	p.take(':')
	return k
}

// text reads a string in which every byte stands for itself.
func (p *scanner) text() []byte {
	p.take('"')
	end := bytes.IndexByte(p.rest, '"')
	if p.bad || end < 0 {
		p.bad = true
		return nil
	}
	s := p.rest[:end]
	if !plain(s) {
		p.bad = true
		return nil
	}
	p.rest = p.rest[end+1:]
	return s
}

// plain says whether s is UTF-8 without control characters and backslashes. It
// looks at eight bytes at once: most of a report is strings.
func plain(s []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	var odd, high uint64
	rest := s
	for ; len(rest) >= 8; rest = rest[8:] {
		x := binary.LittleEndian.Uint64(rest)
		y := x ^ ones*'\\'
		odd |= (x-ones*' ')&^x&tops | (y-ones)&^y&tops // a byte below a space, a byte that is a backslash
		high |= x & tops
	}
	for _, c := range rest {
		if c < ' ' || c == '\\' {
			return false
		}
		high |= uint64(c & utf8.RuneSelf)
	}
	return odd == 0 && (high == 0 || utf8.Valid(s))
}

func (p *scanner) skipText() { p.text() }

func (p *scanner) time() (t time.Time) {
	p.bad = t.UnmarshalText(p.text()) != nil || p.bad
	return t
}

func (p *scanner) null() bool {
	if p.next() != 'n' || !bytes.HasPrefix(p.rest, []byte("null")) {
		return false
	}
	p.rest = p.rest[len("null"):]
	return true
}

// number reads an integer of at most 18 digits, which any integer field holds.
func (p *scanner) number() (n uint64) {
	p.next()
	i := 0
	for i < len(p.rest) && p.rest[i] >= '0' && p.rest[i] <= '9' {
		n = 10*n + uint64(p.rest[i]-'0')
		i++
	}
	if i == 0 || i > 18 || (i > 1 && p.rest[0] == '0') {
		p.bad = true
		return 0
	}
	p.rest = p.rest[i:]
	if c := p.next(); c == '.' || c == 'e' || c == 'E' {
		p.bad = true
	}
	return n
}

// service passes over one element of services, which must be a plain one too.
func (p *scanner) service() {
	p.each('{', '}', func() {
		switch string(p.key()) {
		case "name", "container_id", "image_digest", "state", "health":
			p.text()
		case "restarts":
			p.number()
		case "ports":
			p.each('[', ']', p.skipText)
		default:
			p.bad = true
		}
	})
}
