package report

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// outgoing is one message on its way to the log.
type outgoing struct {
	kind string
	msg  *nats.Msg
	// acked is called once the log has it, or will never take it.
	acked func() error
}

// send sends what there is, one message at a time.
func (r *Reporter) send(ctx context.Context) error {
	again, stop := r.options.Bus.Watch()
	defer stop()
	link := &conn{bus: r.options.Bus, again: again}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		// Nothing is picked, and given a number, before there is a connection: the
		// latest wins until then.
		if err := link.up(ctx); err != nil {
			return endOf(ctx, err)
		}
		out, wait, err := r.pick()
		if err != nil {
			r.options.Logger.Error("the store fails; the agent cannot report", "error", err)
			wait = storeRetry
		}
		if out == nil {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return nil
			case <-r.wake:
			case <-timer.C:
			}
			continue
		}
		if err := r.deliver(ctx, link, out); err != nil {
			return endOf(ctx, err)
		}
		if err := out.acked(); err != nil {
			// An event that can't leave the outbox would be sent again and again.
			r.options.Logger.Error("the store cannot record what the agent reported; the agent tries again", "error", err, "after", storeRetry)
			if err := link.pause(ctx, storeRetry); err != nil {
				return endOf(ctx, err)
			}
		}
	}
}

// endOf gives nil where the context ended, as that is how one stops a reporter.
func endOf(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// deliver tries one message until the log has it or will never take it. It
// fails only when the context ends.
func (r *Reporter) deliver(ctx context.Context, l *conn, out *outgoing) error {
	for try := 0; ; try++ {
		if err := l.up(ctx); err != nil {
			return err
		}
		err := r.request(ctx, out.msg)
		if err == nil {
			r.metrics.sent.WithLabelValues(out.kind).Inc()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if isFinal(err) {
			r.metrics.refused.WithLabelValues(out.kind).Inc()
			r.options.Logger.Error("the event log refuses this report for good; the agent drops it", "subject", out.msg.Subject, "bytes", len(out.msg.Data), "error", err)
			return nil
		}
		r.metrics.retries.Inc()
		r.options.Logger.Debug("no acknowledgement of a report", "subject", out.msg.Subject,
			"number", out.msg.Header.Get(eventlog.HeaderCounter), "try", try+1, "error", err)
		if err := l.pause(ctx, retryDelay(try)); err != nil {
			return err
		}
	}
}

func (r *Reporter) request(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	reply, err := r.options.Bus.Request(ctx, m)
	if err != nil {
		return err
	}
	return acknowledged(reply)
}

// pick takes the next message, or says how long there is none.
func (r *Reporter) pick() (*outgoing, time.Duration, error) {
	r.mu.Lock()
	now := r.options.Clock()
	wait := time.Hour
	if r.info.pending() {
		defer r.mu.Unlock()
		return r.statement(kindInfo, "", &r.info, now)
	}
	var next *statement
	deployment := ""
	for name, s := range r.states {
		if !s.pending() {
			continue
		}
		if left := s.due(now).Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		if next == nil || s.since.Before(next.since) || s.since.Equal(next.since) && name < deployment {
			next, deployment = s, name
		}
	}
	if next != nil {
		defer r.mu.Unlock()
		return r.statement(kindState, deployment, next, now)
	}
	waiting := r.waiting
	r.waiting = false
	r.mu.Unlock()
	if !waiting {
		return nil, wait, nil
	}
	out, err := r.head()
	if out != nil || err != nil {
		r.mu.Lock()
		r.waiting = true // there may be more behind it
		r.mu.Unlock()
	}
	return out, wait, err
}

// statement makes the message of one statement. r.mu is held.
func (r *Reporter) statement(kind, deployment string, s *statement, now time.Time) (*outgoing, time.Duration, error) {
	memo := clearedPrefix + deployment
	if kind == kindState && s.data != nil {
		if err := r.options.Store.Remember(memo, nil); err != nil {
			return nil, 0, err
		}
	}
	n, err := r.options.Store.Next()
	if err != nil {
		return nil, 0, err
	}
	s.budget.spend(now)
	s.next = now.Add(stateSpacing)
	content, generation := s.content, r.generation
	return &outgoing{kind: kind, msg: r.message(kind, deployment, s, n, now), acked: func() error {
		r.mu.Lock()
		if r.generation == generation {
			s.said = content
		}
		r.mu.Unlock()
		if kind == kindState && content == contentCleared {
			return r.options.Store.Remember(memo, []byte("1"))
		}
		return nil
	}}, 0, nil
}

// message is a report as any KV client could have made it, but numbered.
func (r *Reporter) message(kind, deployment string, s *statement, n eventlog.Counter, now time.Time) *nats.Msg {
	subject := eventlog.InfoSubject(r.options.Device)
	if kind == kindState {
		subject = eventlog.StateSubject(r.options.Device, deployment)
	}
	if s.data == nil {
		m := eventlog.Draft{Subject: subject, Type: eventlog.StateCleared, Time: now, Traceparent: s.traceparent}.Message(r.source(), r.options.NewID())
		m.Header.Set(eventlog.HeaderCounter, n.String())
		return m
	}
	m := nats.NewMsg(subject)
	m.Data = s.data
	if s.traceparent != "" {
		m.Header.Set(eventlog.HeaderTraceparent, s.traceparent)
	}
	m.Header.Set(nats.MsgIdHdr, r.options.NewID())
	m.Header.Set(eventlog.HeaderCounter, n.String())
	return m
}

// head is the oldest event of the journal.
func (r *Reporter) head() (*outgoing, error) {
	record, n, ok, err := r.options.Store.Head()
	if err != nil || !ok {
		return nil, err
	}
	d := eventlog.Draft{Subject: eventlog.AgentSubject(r.options.Device), Type: record.Type, Time: record.Time, Data: record.Data, Traceparent: record.Traceparent}
	m := d.Message(r.source(), record.ID)
	m.Header.Set(eventlog.HeaderCounter, n.String())
	return &outgoing{kind: kindJournal, msg: m, acked: func() error { return r.options.Store.Done(record) }}, nil
}

// source is the attribute of an event that says who speaks.
func (r *Reporter) source() string { return "devices/" + r.options.Device }
