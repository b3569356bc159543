package reader

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"github.com/nats-io/nats.go/jetstream"
)

// Options say what to read. The zero value reads all.
type Options struct {
	From     uint64    // first sequence; 0 means the beginning
	Since    time.Time // first moment, by the log's clock; used when From is 0
	Until    uint64    // last sequence; 0 means the log's last when reading begins
	Subjects []string  // filters that do not overlap; none means all
	LogID    string    // of the log that From was counted in; empty for any
	// LastPerSubject begins with the last event of each subject in place of all that
	// went before; it is used when From, Since and After are zero, and needs Subjects.
	// Account PEOPLE cannot read so.
	LastPerSubject bool
	// Direct reads by direct gets, as account PEOPLE does: it leaves the server no consumer
	// to make and to forget. It suits a few events; LastPerSubject cannot be read so.
	Direct bool
	// Most is about how many events are wanted, where they are read by direct gets: no more
	// are asked for at a time. 0 means all.
	Most int
	// After is the message that was read last, by whom reads on from there; it is
	// used when From is 0. A log that does not hold it any more is ErrLogReset,
	// also where it comes back changed before anything more was read.
	After eventlog.Position
	// Progress is told how many events were read and about how many there are,
	// now and then and at the end. It may be nil.
	Progress func(done, total uint64)
}

const (
	progressEvery = 1 << 13          // events between two words of progress
	readTimeout   = 30 * time.Second // how long a log that cannot be read is waited for
)

// Read yields the events from a place in the log to its end as it is when
// reading begins. A foreign message comes as an Event together with an error
// that wraps ErrForeign, and reading goes on; any other error is the last pair.
func Read(ctx context.Context, js jetstream.JetStream, o Options) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		target, err := lastOf(ctx, js, o)
		if err != nil {
			yield(eventlog.Event{}, fmt.Errorf("read: %w", err))
			return
		}
		if target == 0 || max(o.From, o.After.Sequence+1) > target {
			o.report(0, 0)
			return
		}
		if o.Until == 0 {
			o.Until = target
		}
		newReader(js, o, target).run(ctx, yield)
	}
}

// Follow yields the events from a place in the log on, for ever: until the
// context ends (its error is the last pair), or the log proves to be another one
// (ErrLogReset), of which no event is yielded. It survives reconnects and
// restarts of the server; a log that is not there, or cannot be read for half a
// minute to begin with, is an error, and so is a connection that was closed. Foreign messages come as with Read; Until and
// Progress are not used.
func Follow(ctx context.Context, js jetstream.JetStream, o Options) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		o.Until, o.Progress = 0, nil
		newReader(js, o, 0).run(ctx, yield)
	}
}

// lastOf is the sequence of the last event that there is to read, by the word of
// the stream's leader: a replica that is behind would end a reading too soon. It
// is 0 where there is none.
func lastOf(ctx context.Context, js jetstream.JetStream, o Options) (uint64, error) {
	s, err := Authoritative(ctx, js, eventlog.LogStream)
	if err != nil {
		return 0, err
	}
	if logstream.RestoringArchive(s.CachedInfo().Config) != "" {
		return 0, fmt.Errorf("stream %s: %w", eventlog.LogStream, logstream.ErrRestoring)
	}
	subjects := o.Subjects
	if len(subjects) == 0 {
		subjects = []string{eventlog.LogSubjects}
	}
	state := s.CachedInfo().State
	lasts := make([]*jetstream.RawStreamMsg, len(subjects))
	err = together(len(subjects), func(i int) error {
		subject := subjects[i]
		m, err := lastOn(ctx, js, eventlog.LogStream, subject, state.LastSeq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			// Of the last message that is damaged the server says so too, whatever
			// stands before it.
			err = noneLeft(ctx, js, eventlog.LogStream, subject, max(1, o.From, o.After.Sequence+1), state.LastSeq)
			if errors.Is(err, errMissed) {
				m, err = &jetstream.RawStreamMsg{Sequence: state.LastSeq, Time: state.LastTime}, nil
			}
		}
		lasts[i] = m
		return err
	})
	if err != nil {
		return 0, err
	}
	var last jetstream.RawStreamMsg
	for _, m := range lasts {
		if m != nil && m.Sequence > last.Sequence {
			last = *m
		}
	}
	if o.From == 0 && last.Time.Before(o.Since) {
		return 0, nil
	}
	return last.Sequence, nil
}

func (o Options) report(done, total uint64) {
	if o.Progress != nil {
		o.Progress(done, total)
	}
}

// consumer is the configuration of a consumer that begins after the sequence
// that was read last, or where the options say.
func (o Options) consumer(after uint64) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
		DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	switch {
	case after > 0:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, after+1
	case o.From > 0:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, o.From
	case !o.Since.IsZero():
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.Since
	case o.LastPerSubject:
		c.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
	}
	if len(o.Subjects) == 1 {
		c.FilterSubject = o.Subjects[0]
	} else {
		c.FilterSubjects = o.Subjects
	}
	return c
}
