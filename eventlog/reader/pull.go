package reader

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// pull is one consumer of a stream and the requests that keep its messages
// coming: straight from the connection into a channel, which is what makes
// reading quick.
type pull struct {
	nc       *nats.Conn
	stream   string
	name     string
	requests [pullRequests]request
	open     int // of the requests
	msgs     chan *nats.Msg
	idle     *time.Timer
	got      uint64 // the consumer's number of the last message
	pending  uint64 // what there was to come when the consumer was made
	before   string // what a reply subject says before the message's numbers
}

// request is one of those that are open at the same time. The server ends it after
// so many messages or bytes; it serves all of them in turn, so each has an inbox of
// its own, by which its messages are counted.
type request struct {
	inbox string
	sub   *nats.Subscription
	size  int // messages to ask for next
	asked int // that were asked for
	left  int // of them that have not come; 0: it has ended
}

// What a reader holds at most of what it has not read yet. PullBytes bounds it
// where messages are large: one device may send thousands of 60 KiB, and who leads
// hundreds of MaxMessageBytes. Four requests make it up, so that while one is asked
// for again the others keep the messages coming.
const (
	PullBytes       = 6 << 20 // as the server counts them: subjects, header and payload
	maxPullMessages = 8192    // messages
	pullRequests    = 4
)

const (
	expires           = 30 * time.Second // after which an unanswered request ends
	heartbeatInterval = 2 * time.Second  // between the server's signs of life
)

// pullRequest asks for the next messages (the payload of MSG.NEXT, ADR-13 of NATS).
const pullRequest = `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`

func newPull(ctx context.Context, js jetstream.JetStream, stream string, c jetstream.ConsumerConfig) (*pull, error) {
	cons, err := makeConsumer(ctx, js, stream, c)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", stream, err)
	}
	info := cons.CachedInfo()
	p := &pull{
		nc: js.Conn(), stream: stream, name: info.Name, pending: info.NumPending,
		msgs: make(chan *nats.Msg, maxPullMessages+maxPullMessages/4), // all that was asked for, and signs of life
		idle: time.NewTimer(2 * heartbeatInterval),
	}
	for i := range p.requests {
		r := &p.requests[i]
		// The first ones differ in size, so that they do not all end at once.
		r.inbox, r.size = p.nc.NewInbox(), (i+1)*maxPullMessages/pullRequests/pullRequests
		if r.sub, err = p.nc.ChanSubscribe(r.inbox, p.msgs); err != nil {
			p.stop()
			return nil, fmt.Errorf("read stream %s: %w", stream, err)
		}
	}
	return p, nil
}

func makeConsumer(ctx context.Context, js jetstream.JetStream, stream string, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return js.CreateConsumer(ctx, stream, c)
}

// stop ends the consumer, without waiting for the server's word: one that cannot
// be told ends by itself within a minute.
func (p *pull) stop() {
	p.idle.Stop()
	for _, r := range p.requests {
		if r.sub != nil {
			_ = r.sub.Unsubscribe() // fails only where the connection has ended, and it with it
		}
	}
	_ = p.nc.Publish(eventlog.ConsumerDeleteAPIOf(p.stream, p.name), nil) // as above
}

func (p *pull) found() uint64 { return p.pending }

// Errors that end a session, and no more than that.
var (
	errSilent = errors.New("the server gave no sign of life")
	errGap    = errors.New("the connection dropped a message")
)

// errIdle ends nothing: the server says that it has sent all that it can give now,
// and that has come. A replica that is behind says so too, so it is not the end of a
// stream.
var errIdle = errors.New("nothing more came")

// next gives the next message. It fails with errIdle now and then while nothing
// comes, with the context's error, or with one that asks for a new session.
func (p *pull) next(ctx context.Context) (*nats.Msg, delivery, error) {
	for {
		if p.open < pullRequests {
			if err := p.ask(ctx); err != nil {
				return nil, delivery{}, err
			}
		}
		m, err := p.receive(ctx)
		if err != nil {
			return nil, delivery{}, err
		}
		r := p.requestOf(m)
		if m.Subject == r.inbox {
			if err := p.status(r, m); err != nil {
				return nil, delivery{}, err
			}
			continue
		}
		at, ok := p.delivery(m.Reply)
		if !ok {
			return nil, delivery{}, fmt.Errorf("read stream %s: reply subject %q: %w", p.stream, m.Reply, nats.ErrNotJSMessage)
		}
		if r.left--; r.left == 0 {
			p.open--
		}
		p.got++
		if at.delivered != p.got {
			return nil, delivery{}, errGap
		}
		return m, at, nil
	}
}

func (p *pull) requestOf(m *nats.Msg) *request {
	for i := range p.requests {
		if p.requests[i].sub == m.Sub {
			return &p.requests[i]
		}
	}
	return &p.requests[0] // there is no other subscription
}

// delivery is where a message stands.
type delivery struct {
	sequence  uint64 // in the stream
	delivered uint64 // among those of its consumer, from 1
	recorded  time.Time
}

// deliveryOf reads the reply subject of a message that a consumer delivered (ADR-15
// of NATS): $JS.ACK.<stream>.<consumer>.<tries>.<sequence>.<delivered>.<time>.<pending>,
// or with <domain>.<account> after ACK, and then perhaps with more at its end.
func deliveryOf(reply string) (delivery, bool) {
	n, ok := numbersOf(reply)
	if !ok {
		return delivery{}, false
	}
	return deliveryIn(reply[n:])
}

// numbersOf is where in a reply subject the sequence begins.
func numbersOf(reply string) (at int, ok bool) {
	const short, long = 8, 10 // dots
	before := 5               // tokens
	switch n := strings.Count(reply, "."); {
	case !strings.HasPrefix(reply, "$JS.ACK."):
		return 0, false
	case n >= long:
		before = 7
	case n != short:
		return 0, false
	}
	rest := reply
	for range before {
		_, rest, _ = strings.Cut(rest, ".")
	}
	return len(reply) - len(rest), true
}

func deliveryIn(numbers string) (delivery, bool) {
	var n [3]uint64
	for i := range n {
		var ok bool
		if n[i], numbers, ok = cutNumber(numbers); !ok {
			return delivery{}, false
		}
	}
	return delivery{sequence: n[0], delivered: n[1], recorded: time.Unix(0, int64(n[2]))}, true
}

// delivery is deliveryOf for the messages of one consumer: what comes before the
// numbers is the same in all of them.
func (p *pull) delivery(reply string) (delivery, bool) {
	if p.before == "" || !strings.HasPrefix(reply, p.before) {
		n, ok := numbersOf(reply)
		if !ok {
			return delivery{}, false
		}
		p.before = reply[:n]
	}
	return deliveryIn(reply[len(p.before):])
}

// cutNumber reads a number of at most 63 bits and the dot or the end after it.
func cutNumber(s string) (n uint64, rest string, ok bool) {
	const most = 18 // digits that cannot overflow; one more is checked
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		if i >= most && n > (math.MaxInt64-9)/10 {
			return 0, "", false
		}
		n = 10*n + uint64(s[i]-'0')
		i++
	}
	if i == 0 || i < len(s) && s[i] != '.' {
		return 0, "", false
	}
	return n, s[min(i+1, len(s)):], true
}

// ask opens the requests that have ended. One of them has signs of life sent: the
// server sends them for each that asks.
func (p *pull) ask(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for i := range p.requests {
		r := &p.requests[i]
		if r.left > 0 {
			continue
		}
		alive := heartbeatInterval
		if i > 0 {
			alive = 0
		}
		payload := fmt.Appendf(nil, pullRequest, r.size, PullBytes/pullRequests, expires, alive)
		if err := p.nc.PublishRequest(eventlog.ConsumerNextAPI(p.stream, p.name), r.inbox, payload); err != nil {
			return fmt.Errorf("read stream %s: %w", p.stream, err)
		}
		r.left, r.asked, r.size = r.size, r.size, maxPullMessages/pullRequests
		p.open++
	}
	return nil
}

func (p *pull) receive(ctx context.Context) (*nats.Msg, error) {
	select {
	case m := <-p.msgs:
		return m, nil
	default:
	}
	p.idle.Reset(2 * heartbeatInterval)
	select {
	case m := <-p.msgs:
		return m, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-p.idle.C:
		return nil, errSilent
	}
}

// status heeds a message of the server's own: a sign of life, the end of a
// request, or that of the consumer.
func (p *pull) status(r *request, m *nats.Msg) error {
	s, why := eventlog.HeaderValue(m.Header, "Status"), eventlog.HeaderValue(m.Header, "Description")
	switch {
	case s == "100":
		sent, err := strconv.ParseUint(eventlog.HeaderValue(m.Header, "Nats-Last-Consumer"), 10, 64)
		if err == nil && sent > p.got {
			return errGap // else only the next message would show it
		}
		return errIdle
	case s == "409" && why == tooManyBytes && r.left == r.asked:
		return fmt.Errorf("read stream %s: the next message is larger than a reader takes (%d bytes)", p.stream, PullBytes/pullRequests)
	case s == "409" && why == batchCompleted:
		return nil // its last message said so, and it may be asked for again already
	case s == "404", s == "408", s == "409" && why == tooManyBytes:
		if r.left > 0 {
			r.left = 0
			p.open--
		}
		return nil
	default:
		return fmt.Errorf("read stream %s: the server says %s %s", p.stream, s, why)
	}
}

// Ends of a request, as the server describes them beside the status 409.
const (
	tooManyBytes   = "Message Size Exceeds MaxBytes" // the next message would exceed its bytes
	batchCompleted = "Batch Completed"               // all its messages came, and bytes are left
)
