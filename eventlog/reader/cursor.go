package reader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What one batch of direct gets holds at most. The server ends a batch with the
// message that exceeds its bytes. Two are held at the same time: one is given while
// the next one comes.
const (
	batchBytes    = 4 << 20 // as the server counts them: subjects, stored headers and payload
	batchMessages = 4096
)

// cursor is a place in a stream, on one filter.
type cursor struct {
	nc     *nats.Conn
	api    string
	stream string
	filter string // empty for all
	batch  batchRequest
	inbox  string
	sub    *nats.Subscription
	msgs   chan *nats.Msg
	idle   *time.Timer

	next    uint64            // the first sequence that has not come; 0: by since
	since   time.Time         // where next is to be found
	until   uint64            // the last sequence that is wanted; 0: none
	at      eventlog.Position // the last message that has come
	size    int               // of that message
	entries []entry           // that have come
	given   int               // of them
	asked   bool              // a batch is on its way
	from    uint64            // the sequence that it was asked from
	found   uint64            // how many there were, when the first batch came
	last    uint64            // on the filter, by the word of the stream's leader
}

// batchRequest is the payload of DIRECT.GET (ADR-31 of NATS).
type batchRequest struct {
	Sequence  uint64     `json:"seq,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	Batch     int        `json:"batch"`
	MaxBytes  int        `json:"max_bytes"`
}

// newCursor makes one of several cursors: together they hold no more than one would.
func newCursor(nc *nats.Conn, stream, filter string, of int) (*cursor, error) {
	c := &cursor{
		nc: nc, api: eventlog.DirectGetAPIs(stream)[0], stream: stream, filter: filter,
		batch: batchRequest{NextFor: filter, Batch: max(1, batchMessages/of), MaxBytes: batchBytes / of},
		inbox: nc.NewInbox(), idle: time.NewTimer(2 * heartbeatInterval),
	}
	c.msgs = make(chan *nats.Msg, c.batch.Batch+16) // all that was asked for, and the server's own words
	var err error
	c.sub, err = nc.ChanSubscribe(c.inbox, c.msgs)
	return c, err
}

func (c *cursor) stop() {
	c.idle.Stop()
	_ = c.sub.Unsubscribe() // fails only where the connection has ended, and it with it
}

// head is the next message to give; nil where it has not come.
func (c *cursor) head() *entry {
	if c.given == len(c.entries) {
		return nil
	}
	return &c.entries[c.given]
}

func (c *cursor) take() entry {
	e := c.entries[c.given]
	c.entries[c.given] = entry{} // the batch may live long
	c.given++
	return e
}

// reached is the sequence up to which all has come.
func (c *cursor) reached() uint64 { return max(c.next, 1) - 1 }

// ask asks for the next batch, which begins with the last message that has come
// where that is wanted.
func (c *cursor) ask(again bool) error {
	q := c.batch
	q.Sequence = c.next
	if c.filter == "" && c.until >= c.next {
		q.Batch = int(min(uint64(q.Batch), c.until-c.next+1))
	}
	if again && c.at.Sequence > 0 {
		q.Sequence = c.at.Sequence
		q.Batch++
		q.MaxBytes += c.size
	}
	c.asked, c.from = true, q.Sequence
	return c.send(q)
}

func (c *cursor) send(q batchRequest) error {
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	return c.nc.PublishRequest(c.api, c.inbox, b)
}

// locate finds the first sequence since a moment; none where there is none yet. What
// the server says at the end of a batch cannot be forged by a message.
func (c *cursor) locate(ctx context.Context) error {
	q := c.batch
	q.StartTime, q.Batch = &c.since, 1
	if err := c.send(q); err != nil {
		return err
	}
	for {
		m, err := c.wait(ctx)
		if err != nil {
			return err
		}
		s, ok := statusOf(m)
		switch {
		case !ok:
			continue // the message itself
		case s.code == notFound:
			return nil
		case s.code == endOfBatch:
			c.next, c.since = s.last, time.Time{}
			return nil
		}
		return refused(s)
	}
}

// receive waits for the batch that was asked for, to its end. more says that the
// server has more.
func (c *cursor) receive(ctx context.Context, js jetstream.JetStream) (entries []entry, more bool, _ error) {
	c.asked = false
	before := uint64(0) // the sequence of the message before
	for {
		m, err := c.wait(ctx)
		if err != nil {
			return nil, false, err
		}
		if s, ok := statusOf(m); ok {
			switch {
			case s.code == notFound && len(entries) == 0:
				return nil, false, nil
			case s.code == endOfBatch && s.last == before:
				return entries, s.pending > 0, nil
			case s.code == endOfBatch:
				return nil, false, errGap
			}
			return nil, false, refused(s)
		}
		e, ok := entryOf(m, c.stream)
		if !ok {
			if e, err = c.byLeader(ctx, js, max(before+1, c.from), before); err != nil {
				return nil, false, err
			}
		}
		if e.before != before {
			return nil, false, errGap
		}
		before = e.at.sequence
		entries = append(entries, e)
	}
}

// byLeader gives the next message as the stream's leader has it.
func (c *cursor) byLeader(ctx context.Context, js jetstream.JetStream, from, before uint64) (entry, error) {
	filter := c.filter
	if filter == "" {
		filter = eventlog.AnySubject
	}
	m, err := NextMessage(ctx, js, c.stream, filter, from)
	if err != nil {
		return entry{}, err
	}
	return entry{
		msg: &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data},
		at:  delivery{sequence: m.Sequence, recorded: m.Time}, before: before,
	}, nil
}

func (c *cursor) wait(ctx context.Context) (*nats.Msg, error) {
	select {
	case m := <-c.msgs:
		return m, nil
	default:
	}
	c.idle.Reset(2 * heartbeatInterval)
	select {
	case m := <-c.msgs:
		return m, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.idle.C:
		return nil, errSilent
	}
}

// errRefused says that the server does not give what was asked for.
var errRefused = errors.New("the server gives no batch")

func refused(s status) error {
	if s.code == "503" {
		return fmt.Errorf("%w: no server has the stream now", errRefused)
	}
	return fmt.Errorf("%w: it says %s %s", errRefused, s.code, s.text)
}
