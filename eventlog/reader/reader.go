// Package reader reads what a stream holds: the log's events up to its end or for
// ever, the stored messages of any stream, and single messages by the word of the
// stream's leader. In account FLEET it reads by consumers, in account PEOPLE, which
// has none, by direct gets; what it gives is the same.
package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// reader reads the log in sessions, each with a feed of its own that holds for as
// long as its connection. Between two sessions it makes sure that the log
// is still the one that it read: so no event of another log is ever yielded.
type reader struct {
	js     jetstream.JetStream
	o      Options
	target uint64 // Read: the last event that there is; 0 for Follow
	logID  string // empty until the first session

	sequence uint64    // of the event that was yielded last, here or to whom reads on
	recorded time.Time // its time in the log
	done     uint64    // events yielded
	total    uint64    // about how many there are
	finished bool      // nothing more is to be yielded
}

func newReader(js jetstream.JetStream, o Options, target uint64) *reader {
	r := &reader{js: js, o: o, target: target, logID: o.LogID}
	if o.From == 0 {
		r.sequence, r.recorded = o.After.Sequence, o.After.Recorded
	}
	return r
}

func (r *reader) run(ctx context.Context, yield func(eventlog.Event, error) bool) {
	began, pause := time.Now(), minPause
	for {
		before := r.done
		err := r.session(ctx, yield)
		if r.finished {
			return
		}
		if r.done > before {
			began, pause = time.Now(), minPause
		}
		lost := errors.Is(err, ErrLogReset) || errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, nats.ErrConnectionClosed)
		unread := r.target > 0 || r.logID == ""
		if cause := ctx.Err(); cause != nil {
			err, lost = cause, true
		}
		if lost || unread && time.Since(began) > readTimeout {
			yield(eventlog.Event{}, err)
			return
		}
		wait(ctx, r.js.Conn(), pause)
		pause = min(2*pause, maxPause)
	}
}

// Pauses between sessions that failed.
const (
	minPause = 20 * time.Millisecond
	maxPause = 2 * time.Second
)

// wait pauses, and goes on waiting while there is no connection.
func wait(ctx context.Context, nc *nats.Conn, pause time.Duration) {
	found := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(found)
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	if nc.IsConnected() || nc.IsClosed() {
		return
	}
	select {
	case <-found:
	case <-ctx.Done():
	}
}

// errReconnected ends a session, and no more than that.
var errReconnected = errors.New("the connection changed")

// WhileConnected gives a context that ends when the connection is lost: a
// request that was lost with it would be waited for in vain.
func WhileConnected(ctx context.Context, nc *nats.Conn) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	changes := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		defer nc.RemoveStatusListener(changes)
		select {
		case <-ctx.Done():
		case <-changes:
			cancel(errReconnected)
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
	}
}

// session reads until it fails, or r.finished.
func (r *reader) session(ctx context.Context, yield func(eventlog.Event, error) bool) error {
	ctx, end := WhileConnected(ctx, r.js.Conn())
	defer end()
	if err := r.verify(ctx); err != nil {
		return err
	}
	p, err := r.feed(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	late := lookout{next: time.Now().Add(lookoutEvery)}
	var e eventlog.Event // one for all, as an event is some 400 bytes
	for {
		m, at, err := p.next(ctx)
		if errors.Is(err, errIdle) {
			if r.target == 0 {
				if err := r.lookOut(ctx, &late); err != nil {
					return err
				}
				continue
			}
			if err := r.prove(ctx); err != nil {
				return err
			}
			r.finish()
			return nil
		}
		if err != nil {
			return err
		}
		if r.done == 0 {
			r.total = p.found()
		}
		seq := at.sequence
		if r.o.Until > 0 && seq > r.o.Until {
			r.finish()
			return nil
		}
		e = eventlog.Event{Sequence: seq, Recorded: at.recorded, Subject: m.Subject, Time: at.recorded, Version: 1, Data: m.Data, Header: m.Header}
		foreign := e.Decode()
		r.sequence, r.recorded = seq, e.Recorded
		r.done++
		if !yield(e, foreign) {
			r.finished = true
			return nil
		}
		if r.target > 0 && (seq >= r.target || seq == r.o.Until) {
			r.finish()
			return nil
		}
		if r.done%progressEvery == 0 {
			r.o.report(r.done, max(r.total, r.done))
		}
	}
}

// feed opens the feed of one session.
func (r *reader) feed(ctx context.Context) (feed, error) {
	if !isPeoples(r.js) && !r.o.Direct {
		return newPull(ctx, r.js, eventlog.LogStream, r.o.consumer(r.sequence))
	}
	if r.o.LastPerSubject {
		return nil, errors.New("the last event of each subject is read by a consumer, which account PEOPLE has not, and not by direct gets")
	}
	q := question{subjects: r.o.Subjects, from: r.sequence + 1, until: r.o.Until, confirm: r.verify, kept: true, follow: r.target == 0, most: r.o.Most}
	if r.sequence == 0 {
		q.from, q.since = r.o.From, r.o.Since
	}
	return newDirect(r.js, eventlog.LogStream, q)
}

// prove makes sure that what was asked for is at its end, where the message at its
// end does not come: one that is damaged on the server's disk never does. It fails
// where the stream's leader has a message that has not come.
func (r *reader) prove(ctx context.Context) error {
	subjects := r.o.Subjects
	if len(subjects) == 0 {
		subjects = []string{eventlog.LogSubjects}
	}
	from := max(r.sequence+1, r.o.From)
	for _, subject := range subjects {
		if err := noneLeft(ctx, r.js, eventlog.LogStream, subject, from, r.o.Until); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) finish() {
	r.finished = true
	r.o.report(r.done, r.done)
}

// verify fails with ErrLogReset when the log is not the one that was read.
func (r *reader) verify(ctx context.Context) error {
	return insist(ctx, func() error { return r.compare(ctx) })
}

func (r *reader) compare(ctx context.Context) error {
	s, err := Authoritative(ctx, r.js, eventlog.LogStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) && r.logID != "" {
		return fmt.Errorf("%w: %w", ErrLogReset, err)
	}
	if err != nil {
		return err
	}
	info := s.CachedInfo()
	id, last := logstream.IDOf(info.Config), info.State.LastSeq
	if r.logID == "" {
		if logstream.RestoringArchive(info.Config) != "" {
			return fmt.Errorf("stream %s: %w", eventlog.LogStream, logstream.ErrRestoring)
		}
		r.logID = id
	}
	if r.logID == id && r.o.From > last+1 {
		return fmt.Errorf("%w: it ends at sequence %d, and was to be read from %d", ErrLogReset, last, r.o.From)
	}
	return sameLog(ctx, r.js, logstream.Info{ID: id, Last: last}, r.logID, eventlog.Position{Sequence: r.sequence, Recorded: r.recorded})
}
