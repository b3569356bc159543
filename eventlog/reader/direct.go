package reader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// question is what is read by direct gets.
type question struct {
	subjects []string  // filters that do not overlap; none means all
	from     uint64    // first sequence; 0 means the beginning, or since
	since    time.Time // first moment; used when from is 0
	until    uint64    // last sequence; 0 means none
	most     int       // messages to ask for at a time; 0 means as many as can be held
	follow   bool      // wait for what comes, in place of errIdle
	// kept says that the stream keeps its messages, so that each answer can begin with
	// the message that was read last: that proves that it is still the same stream.
	kept bool
	// confirm makes sure that the stream is the one that was to be read. It is asked
	// after an answer that proves nothing, before any message of it is given, and now
	// and then while a follower hears nothing.
	confirm func(context.Context) error
}

// direct reads a stream by batches of direct gets, which any replica answers. It
// needs no consumer, so that anyone who may only read can use it. A plain subscription
// tells that something was said; what the stream has of it is then asked for, as a
// message that is heard may have been refused, and does not say its place.
type direct struct {
	js      jetstream.JetStream
	stream  string
	q       question
	cursors []*cursor // one a filter
	wakes   []*nats.Subscription
	woken   chan struct{}
	poll    time.Duration // until a follower asks again without having heard anything

	// Several filters are read together in rounds: up to bound it is known where each
	// of them ends, so that their messages can be given in the stream's order.
	bound uint64
}

// errChanged says that a stream does not have any more what was read of it, or that a
// replica does not have it yet.
var errChanged = errors.New("the server does not have the message that was read last")

func newDirect(js jetstream.JetStream, stream string, q question) (*direct, error) {
	filters := q.subjects
	if len(filters) == 0 {
		filters = []string{""}
	}
	d := &direct{js: js, stream: stream, q: q, woken: make(chan struct{}, 1)}
	for _, f := range filters {
		c, err := newCursor(js.Conn(), stream, f, len(filters))
		if err != nil {
			d.stop()
			return nil, fmt.Errorf("read stream %s: %w", stream, err)
		}
		c.next, c.since, c.until = q.from, q.since, q.until
		if q.most > 0 {
			c.batch.Batch = min(c.batch.Batch, q.most)
		}
		if q.from == 0 && q.since.IsZero() {
			c.next = 1
		}
		d.cursors = append(d.cursors, c)
	}
	if !q.follow {
		return d, nil
	}
	heard := func(*nats.Msg) {
		select {
		case d.woken <- struct{}{}:
		default:
		}
	}
	for _, f := range filters {
		if f == "" {
			f = eventlog.LogSubjects
		}
		s, err := js.Conn().Subscribe(f, heard)
		if err != nil {
			d.stop()
			return nil, fmt.Errorf("read stream %s: %w", stream, err)
		}
		d.wakes = append(d.wakes, s)
	}
	return d, nil
}

func (d *direct) stop() {
	for _, s := range d.wakes {
		_ = s.Unsubscribe() // fails only where the connection has ended, and it with it
	}
	for _, c := range d.cursors {
		c.stop()
	}
}

func (d *direct) found() uint64 {
	n := uint64(0)
	for _, c := range d.cursors {
		n += c.found
	}
	return n
}

func (d *direct) next(ctx context.Context) (*nats.Msg, delivery, error) {
	for {
		c, err := d.first(ctx)
		if err == nil && c != nil {
			e := c.take()
			d.poll = min(d.poll, minPoll) // what was heard together with it may come a little later
			return e.msg, e.at, nil
		}
		if err == nil || errors.Is(err, errIdle) {
			err = d.wait(ctx)
		}
		if err != nil {
			return nil, delivery{}, err
		}
	}
}

// first gives the cursor that has the next message; nil where there is none yet.
func (d *direct) first(ctx context.Context) (*cursor, error) {
	if len(d.cursors) == 1 {
		c := d.cursors[0]
		if c.head() == nil {
			if err := d.fill(ctx, c); err != nil {
				return nil, err
			}
		}
		if c.head() == nil {
			return nil, errIdle
		}
		return c, nil
	}
	for {
		next, err := d.earliest(ctx)
		if err != nil || next != nil {
			return next, err
		}
		more, err := d.round(ctx)
		if err != nil {
			return nil, err
		}
		if !more {
			return nil, errIdle
		}
	}
}

// earliest gives the cursor with the first message up to the bound; nil where all
// have come to the bound.
func (d *direct) earliest(ctx context.Context) (*cursor, error) {
	var next *cursor
	var empty []*cursor
	for _, c := range d.cursors {
		if c.head() == nil && c.reached() < c.last {
			empty = append(empty, c)
		}
	}
	if err := d.fill(ctx, empty...); err != nil {
		return nil, err
	}
	for _, c := range empty {
		if c.head() == nil { // this replica does not have yet what the leader has
			d.poll = max(d.poll, minPoll)
			return nil, errIdle
		}
	}
	for _, c := range d.cursors {
		h := c.head()
		if h != nil && h.at.sequence <= d.bound && (next == nil || h.at.sequence < next.head().at.sequence) {
			next = c
		}
	}
	return next, nil
}

// round asks the stream's leader how far there is to read now, on each filter. It is
// false where that is no further than before.
func (d *direct) round(ctx context.Context) (more bool, err error) {
	s, err := Authoritative(ctx, d.js, d.stream)
	if err != nil {
		return false, err
	}
	last := s.CachedInfo().State.LastSeq
	if last <= d.bound {
		return false, nil
	}
	bounds := make([]uint64, len(d.cursors))
	err = together(len(d.cursors), func(i int) error {
		c := d.cursors[i]
		bounds[i] = last
		m, err := lastOn(ctx, d.js, d.stream, c.filter, last)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			// Of a last message that is damaged the leader says so too, whatever stands before
			// it. Then this cursor goes on message by message, and the others no further.
			if m, err = NextMessage(ctx, d.js, d.stream, c.filter, c.reached()+1); err == nil {
				bounds[i] = m.Sequence
			}
		}
		switch {
		case err == nil && !m.Time.Before(c.since):
			c.last = m.Sequence
		case err != nil && !errors.Is(err, jetstream.ErrMsgNotFound):
			return err
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	d.bound = min(last, slices.Min(bounds))
	return true, nil
}

// Pauses of a follower between two questions that gave nothing. The first is long
// enough for what is heard at once to be asked for at once.
const (
	minPoll = 2 * time.Millisecond
	maxPoll = heartbeatInterval
)

// wait waits for what a follower hears, and for a while in any case: what was heard
// may reach a replica later, and what was said may not be heard at all. Who reads to
// the end is told that nothing more came.
func (d *direct) wait(ctx context.Context) error {
	if !d.q.follow {
		return errIdle
	}
	pause, woken := maxPoll, d.woken
	if d.poll > 0 {
		pause, woken = d.poll, nil
		d.poll = 2 * d.poll
	}
	if d.poll > maxPoll {
		d.poll = 0
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-woken:
		d.poll = minPoll
		t.Reset(minPoll)
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if d.poll > 0 {
		return nil
	}
	return d.q.confirm(ctx)
}

// fill gets the next messages of some cursors; none where there are none yet. It asks for those
// of all cursors before it waits for the first answer.
func (d *direct) fill(ctx context.Context, cursors ...*cursor) error {
	for _, c := range cursors {
		if !c.since.IsZero() {
			if err := c.locate(ctx); err != nil {
				return d.failed(err)
			}
			if c.next == 0 {
				continue
			}
		}
		if !c.asked {
			if err := c.ask(d.q.kept); err != nil {
				return d.failed(err)
			}
		}
	}
	unproven := false
	for _, c := range cursors {
		if !c.asked {
			continue // there is none yet since its moment
		}
		proven, err := d.receive(ctx, c)
		if err != nil {
			return err
		}
		unproven = unproven || !proven
	}
	if unproven {
		return d.q.confirm(ctx)
	}
	return nil
}

// receive takes the answer to what a cursor asked for. proven says that the answer itself shows
// of which stream it is, or that it has no message.
func (d *direct) receive(ctx context.Context, c *cursor) (proven bool, err error) {
	entries, more, err := c.receive(ctx, d.js)
	if err != nil {
		return false, d.failed(err)
	}
	proven = true
	if d.q.kept && c.at.Sequence > 0 {
		// The answer begins with what was read last, or it is not of that stream.
		if len(entries) == 0 || entries[0].at.sequence != c.at.Sequence || !entries[0].at.recorded.Equal(c.at.Recorded) {
			return false, d.failed(errChanged)
		}
		entries = entries[1:]
	} else if len(entries) > 0 {
		if c.found == 0 {
			c.found = entries[0].pending + 1
		}
		proven = false
	}
	if len(entries) == 0 {
		return proven, nil
	}
	last := entries[len(entries)-1].at
	c.entries, c.given = entries, 0
	c.at = eventlog.Position{Sequence: last.sequence, Recorded: last.recorded}
	c.next, c.size = last.sequence+1, entries[len(entries)-1].msg.Size()
	if more && (c.until == 0 || c.next <= c.until) { // while these are given, the next ones come
		if err := c.ask(d.q.kept); err != nil {
			return false, d.failed(err)
		}
	}
	return proven, nil
}

func (d *direct) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read stream %s: %w", d.stream, err)
}
