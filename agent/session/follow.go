package session

import (
	mathrand "math/rand/v2"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
)

// statusNoResponders is what the server itself answers where nobody listens.
const statusNoResponders = "503"

func (s *Session) takeLive(f *feed, m *nats.Msg) {
	d, no := verifyLive(s.options.Device, m)
	if no != nil {
		s.options.Rejected.Message(no.reason, m.Subject, no.why)
		return
	}
	s.metrics.live.Inc()
	if f.gap(d.Deployment, m.Header) {
		s.metrics.gaps.Inc()
		s.askSoon()
	}
	s.apply(s.known.live(d))
}

// gap says whether something was missed: a value between this one and the last
// of its Deployment on this feed, or any for which there was no place.
func (f *feed) gap(deployment string, h nats.Header) bool {
	before := f.last[deployment]
	f.last[deployment] = h.Get(eventlog.HeaderSequence)
	missed := before != "" && h.Get(eventlog.HeaderLastSequence) != before
	if n := f.live.Dropped(); n != f.dropped {
		f.dropped, missed = n, true
	}
	return missed
}

func (s *Session) takeAnswer(f *feed, m *nats.Msg) {
	q := s.question
	if q != nil && q.feed != f {
		q = nil // it was given up, or it is on its way on another connection
	}
	if q != nil && len(m.Data) == 0 && m.Header.Get("Status") == statusNoResponders {
		s.failed(resultNoAnswer)
		return
	}
	nonce := ""
	if q != nil {
		nonce = q.nonce
	}
	p, no := verifyAnswer(s.options.Device, nonce, m)
	if no != nil {
		s.options.Rejected.Message(no.reason, m.Subject, no.why)
		return
	}
	q.deadline = s.options.Clock().Add(s.options.Timeout)
	switch p.kind {
	case answerRefusal:
		s.failed(refusal(p.reason))
	case answerValue:
		q.values = append(q.values, p.value)
	case answerEnd:
		if len(q.values) != p.end.Count {
			s.failed(resultIncomplete)
			return
		}
		s.whole(f, answer{position: store.Position{LogID: p.end.LogID, Sequence: p.end.LogSequence}, values: q.values})
	}
}

// whole takes an answer of which nothing is missing.
func (s *Session) whole(f *feed, a answer) {
	o := s.options
	before := s.known.position
	l := s.known.answer(a, o.Clock())
	if !l.believed {
		o.Logger.Warn("the answer to a sync is older than the desired state of this device; asking again",
			"log", a.position.LogID, "sequence", a.position.Sequence, "known", before.Sequence)
		s.failed(resultBehind)
		return
	}
	s.metrics.syncs.WithLabelValues(resultComplete).Inc()
	f.synced = true
	s.question, s.failures = nil, 0
	s.next = o.Clock().Add(o.Resync*4/5 + mathrand.N(max(1, o.Resync*2/5)))
	if l.logChanged {
		o.Logger.Warn("the event log was replaced or truncated; accepting its current desired state",
			"log", a.position.LogID, "sequence", a.position.Sequence, "known_log", before.LogID, "known_sequence", before.Sequence)
	}
	s.apply(l)
	f.release()
	if l.logChanged {
		o.LogChanged()
	}
	if s.again || l.again {
		s.ask()
	}
}

// apply tells the store, and then anyone who acts upon it.
func (s *Session) apply(l update) {
	o := s.options
	if err := o.Store.Apply(l.changes, s.known.position); err != nil {
		// The store still has it in memory, so containers follow; what is lost is
		// only that a reboot without a network knows it.
		o.Logger.Error("cannot persist desired state (a reboot without network would use the previous one)", "error", err)
	}
	for _, d := range l.changes {
		o.Logger.Info("desired state changed", "deployment", d.Deployment, "namespace", d.Namespace,
			"revision", d.Revision, "sequence", d.Sequence, "withdrawn", d.Withdrawn)
	}
	if len(l.changes) > 0 {
		o.Changed()
	}
}
