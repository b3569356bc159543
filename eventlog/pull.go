package eventlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// pull is one consumer of the log and the requests that keep its messages
// coming: straight from the connection into a channel, which is what makes
// reading quick.
type pull struct {
	nc      *nats.Conn
	name    string
	inbox   string
	sub     *nats.Subscription
	msgs    chan *nats.Msg
	quiet   *time.Timer
	asked   int    // messages that were asked for and have not come
	got     uint64 // the consumer's number of the last message
	pending uint64 // what there was to come when the consumer was made
	before  string // what a reply subject says before the message's numbers
}

const (
	pullMost = 8192             // messages asked for, at most
	expires  = 30 * time.Second // after which an unanswered request ends
	beat     = 2 * time.Second  // between the server's signs of life
)

// pullRequest asks for the next messages (the payload of MSG.NEXT, ADR-13 of NATS).
const pullRequest = `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`

func newPull(ctx context.Context, js jetstream.JetStream, c jetstream.ConsumerConfig) (*pull, error) {
	cons, err := js.CreateConsumer(ctx, LogStream, c)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", LogStream, err)
	}
	info := cons.CachedInfo()
	p := &pull{
		nc: js.Conn(), name: info.Name, pending: info.NumPending, inbox: js.Conn().NewInbox(),
		msgs:  make(chan *nats.Msg, pullMost+pullMost/4), // all that was asked for, and signs of life
		quiet: time.NewTimer(2 * beat),
	}
	if p.sub, err = p.nc.ChanSubscribe(p.inbox, p.msgs); err != nil {
		p.stop()
		return nil, fmt.Errorf("read stream %s: %w", LogStream, err)
	}
	return p, nil
}

// stop ends the consumer, without waiting for the server's word: one that cannot
// be told ends by itself within a minute.
func (p *pull) stop() {
	p.quiet.Stop()
	if p.sub != nil {
		_ = p.sub.Unsubscribe() // fails only where the connection has ended, and it with it
	}
	_ = p.nc.Publish(ConsumerDeleteAPIOf(LogStream, p.name), nil) // as above
}

// Errors that end a session, and no more than that.
var (
	errSilent = errors.New("the server gave no sign of life")
	errGap    = errors.New("the connection dropped a message")
)

// next gives the next message. It fails with the context's error, or with one
// that asks for a new session.
func (p *pull) next(ctx context.Context) (*nats.Msg, place, error) {
	for {
		if p.asked <= pullMost/2 {
			if err := p.ask(ctx); err != nil {
				return nil, place{}, err
			}
		}
		m, err := p.receive(ctx)
		if err != nil {
			return nil, place{}, err
		}
		if m.Subject == p.inbox {
			if err := p.status(m); err != nil {
				return nil, place{}, err
			}
			continue
		}
		at, ok := p.place(m.Reply)
		if !ok {
			return nil, place{}, fmt.Errorf("read stream %s: reply subject %q: %w", LogStream, m.Reply, nats.ErrNotJSMessage)
		}
		p.asked--
		p.got++
		if at.delivered != p.got {
			return nil, place{}, errGap
		}
		return m, at, nil
	}
}

// place is where a message stands.
type place struct {
	sequence  uint64 // in the stream
	delivered uint64 // among those of its consumer, from 1
	recorded  time.Time
}

// placeOf reads the reply subject of a message that a consumer delivered (ADR-15
// of NATS): $JS.ACK.<stream>.<consumer>.<tries>.<sequence>.<delivered>.<time>.<pending>,
// or with <domain>.<account> after ACK, and then perhaps with more at its end.
func placeOf(reply string) (place, bool) {
	n, ok := numbersOf(reply)
	if !ok {
		return place{}, false
	}
	return placeIn(reply[n:])
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

func placeIn(numbers string) (place, bool) {
	var n [3]uint64
	for i := range n {
		var ok bool
		if n[i], numbers, ok = cutNumber(numbers); !ok {
			return place{}, false
		}
	}
	return place{sequence: n[0], delivered: n[1], recorded: time.Unix(0, int64(n[2]))}, true
}

// place is placeOf for the messages of one consumer: what comes before the
// numbers is the same in all of them.
func (p *pull) place(reply string) (place, bool) {
	if p.before == "" || !strings.HasPrefix(reply, p.before) {
		n, ok := numbersOf(reply)
		if !ok {
			return place{}, false
		}
		p.before = reply[:n]
	}
	return placeIn(reply[len(p.before):])
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

func (p *pull) ask(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	n := pullMost - p.asked
	if err := p.nc.PublishRequest(ConsumerNextAPI(LogStream, p.name), p.inbox, fmt.Appendf(nil, pullRequest, n, expires, beat)); err != nil {
		return fmt.Errorf("read stream %s: %w", LogStream, err)
	}
	p.asked = pullMost
	return nil
}

func (p *pull) receive(ctx context.Context) (*nats.Msg, error) {
	select {
	case m := <-p.msgs:
		return m, nil
	default:
	}
	p.quiet.Reset(2 * beat)
	select {
	case m := <-p.msgs:
		return m, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-p.quiet.C:
		return nil, errSilent
	}
}

// status heeds a message of the server's own: a sign of life, the end of a
// request, or that of the consumer.
func (p *pull) status(m *nats.Msg) error {
	switch s := first(m.Header, "Status"); s {
	case "100":
		return nil
	case "404", "408":
		n, err := strconv.Atoi(first(m.Header, "Nats-Pending-Messages"))
		if err != nil || n > p.asked {
			n = p.asked
		}
		p.asked -= n
		return nil
	default:
		return fmt.Errorf("read stream %s: the server says %s %s", LogStream, s, first(m.Header, "Description"))
	}
}
