package reader

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stored yields the messages that a stream has when it is asked, from a sequence
// on, in their order; what comes meanwhile may be among them. A message that the
// server cannot give, as it is damaged, is left out.
//
// It ends without an error only where all has come, or by noneLeft. A connection
// that is lost, or stalls, is waited for as long as Read does.
func Stored(ctx context.Context, js jetstream.JetStream, stream string, from uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return StoredOn(ctx, js, stream, eventlog.AnySubject, from)
}

// StoredOn is Stored for the messages on one subject, which may have wildcards.
func StoredOn(ctx context.Context, js jetstream.JetStream, stream, subject string, from uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		r := &storedReader{js: js, stream: stream, subject: subject, next: max(1, from)}
		if err := r.run(ctx, yield); err != nil {
			yield(nil, fmt.Errorf("read stream %s: %w", stream, err))
		}
	}
}

// storedReader reads a stream in sessions, each with a feed of its own.
type storedReader struct {
	js      jetstream.JetStream
	stream  string
	subject string
	made    time.Time // when the stream was made: another of its name is not read on
	next    uint64    // the first sequence that has not come
	last    uint64    // the last one that is to be read
	ended   bool      // nothing more is to be yielded
}

// errReplaced says that the stream is not the one that was being read.
var errReplaced = errors.New("the stream was deleted and created again during the read")

func (r *storedReader) run(ctx context.Context, yield func(*jetstream.RawStreamMsg, error) bool) error {
	began, pause := time.Now(), minPause
	for {
		before := r.next
		err := r.session(ctx, yield)
		if r.ended {
			return nil
		}
		if r.next > before {
			began, pause = time.Now(), minPause
		}
		if cause := ctx.Err(); cause != nil {
			return cause
		}
		lost := errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, errReplaced) || errors.Is(err, nats.ErrConnectionClosed)
		if lost || r.made.IsZero() || time.Since(began) > readTimeout {
			return err
		}
		wait(ctx, r.js.Conn(), pause)
		pause = min(2*pause, maxPause)
	}
}

// session reads until it fails, or r.ended.
func (r *storedReader) session(ctx context.Context, yield func(*jetstream.RawStreamMsg, error) bool) error {
	ctx, end := WhileConnected(ctx, r.js.Conn())
	defer end()
	if err := r.look(ctx); err != nil || r.ended {
		return err
	}
	p, err := r.feed(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	for {
		m, at, err := p.next(ctx)
		if errors.Is(err, errIdle) {
			err = noneLeft(ctx, r.js, r.stream, r.subject, r.next, r.last)
			r.ended = err == nil
			return err
		}
		if err != nil {
			return err
		}
		raw := &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: at.sequence, Header: m.Header, Data: m.Data, Time: at.recorded}
		r.next = at.sequence + 1
		if !yield(raw, nil) || r.next > r.last {
			r.ended = true
			return nil
		}
	}
}

// feed opens the feed of one session.
func (r *storedReader) feed(ctx context.Context) (feed, error) {
	o := Options{From: r.next}
	if r.subject != eventlog.AnySubject {
		o.Subjects = []string{r.subject}
	}
	if isPeoples(r.js) {
		return newDirect(r.js, r.stream, question{subjects: o.Subjects, from: r.next, until: r.last, confirm: r.look})
	}
	return newPull(ctx, r.js, r.stream, o.consumer(0))
}

// look asks the stream's leader what there is to read, the first time, and then
// whether it is still that stream.
func (r *storedReader) look(ctx context.Context) error {
	s, err := lookUp(ctx, r.js, r.stream)
	if err != nil {
		return err
	}
	i := s.CachedInfo()
	switch {
	case r.made.IsZero():
		r.made, r.last = i.Created, i.State.LastSeq
		if r.subject != eventlog.AnySubject {
			if r.last, err = LastSequence(ctx, r.js, r.stream, r.subject); err != nil {
				return err
			}
		}
		r.ended = i.State.Msgs == 0 || r.next > r.last
	case !i.Created.Equal(r.made):
		return errReplaced
	}
	return nil
}
