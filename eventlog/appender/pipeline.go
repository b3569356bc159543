package appender

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// window bounds the appends in flight on a stream of one replica.
const window = 4096

// pipeline keeps up to window fenced appends in flight. The first refusal stops
// it; what is in flight then is waited for, so that the caller knows what the
// log took, or that nobody knows.
func (a *Appender) pipeline(ctx context.Context, drafts []eventlog.Draft) (uint64, error) {
	nc := a.js.Conn()
	ctx, end := reader.WhileConnected(ctx, nc)
	defer end()
	p := inFlight{token: a.token, acks: make(chan *nats.Msg, window+1), idle: time.NewTimer(ackTimeout)}
	defer p.idle.Stop()
	inbox := nc.NewInbox()
	sub, err := nc.ChanSubscribe(inbox, p.acks)
	if err != nil {
		return 0, fmt.Errorf("await the answers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only where the connection has ended, and it with it
	made := eventlog.Envelopes{Source: a.options.Source}
	token, subject := []string{strconv.FormatUint(a.token, 10)}, []string{eventlog.LeaderSubject}
	for i := range drafts {
		if p.settle(ctx, window-1); p.err != nil {
			break
		}
		m := made.Message(&drafts[i], a.options.NewID())
		m.Reply = inbox
		m.Header[headerExpectedSeq], m.Header[headerExpectedSeqSubject] = token, subject
		if err := nc.PublishMsg(m); err != nil {
			p.fail(fmt.Errorf("%s: %w: %w", drafts[i].Type, ErrUncertain, err))
			break
		}
		p.outstanding++
	}
	p.settle(ctx, 0)
	return p.last, p.err
}

// inFlight are the appends that await their answers. It matters how many there
// are, not which: the first refusal ends them all.
type inFlight struct {
	token       uint64
	acks        chan *nats.Msg
	idle        *time.Timer
	outstanding int
	last        uint64 // the highest sequence that was acknowledged
	err         error  // the worst of what was heard
}

// settle waits for answers until at most keep are outstanding. Once that has
// failed for want of an answer it gives up at once.
func (p *inFlight) settle(ctx context.Context, keep int) {
	for p.outstanding > keep && !errors.Is(p.err, ErrUncertain) && !errors.Is(p.err, ErrDeposed) {
		var m *nats.Msg
		select {
		case m = <-p.acks:
		default:
			p.idle.Reset(ackTimeout)
			select {
			case m = <-p.acks:
			case <-ctx.Done():
				p.fail(fmt.Errorf("%w: %w", ErrUncertain, context.Cause(ctx)))
				return
			case <-p.idle.C:
				p.fail(fmt.Errorf("%w: none within %s", ErrUncertain, ackTimeout))
				return
			}
		}
		p.outstanding--
		if seq, err := ack(m); err != nil {
			p.fail(refusal(err, p.token))
		} else {
			p.last = max(p.last, seq)
		}
	}
}

// fail keeps the first error, but for one that tells more: deposed outweighs
// all, since nothing that is in flight can be taken any more; and not to know
// outweighs a full log and a message that is too large.
func (p *inFlight) fail(err error) {
	switch {
	case p.err == nil,
		errors.Is(err, ErrDeposed) && !errors.Is(p.err, ErrDeposed),
		errors.Is(err, ErrUncertain) && (errors.Is(p.err, ErrLogFull) || errors.Is(p.err, ErrTooLarge)):
		p.err = err
	}
}

// ack reads the server's answer to an append. It fails with a
// *jetstream.APIError where that is a refusal.
func ack(m *nats.Msg) (uint64, error) {
	const plain = `{"stream":"` + eventlog.LogStream + `","seq":`
	if rest, ok := bytes.CutPrefix(m.Data, []byte(plain)); ok {
		if n, err := strconv.ParseUint(strings.TrimSuffix(string(rest), "}"), 10, 64); err == nil {
			return n, nil
		}
	}
	if eventlog.HeaderValue(m.Header, "Status") == "503" {
		return 0, nats.ErrNoResponders
	}
	var said struct {
		Error  *jetstream.APIError `json:"error"`
		Stream string              `json:"stream"`
		Seq    uint64              `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &said); err != nil {
		return 0, fmt.Errorf("answer of the server: %w", err)
	}
	if said.Error != nil {
		return 0, said.Error
	}
	if said.Stream != eventlog.LogStream || said.Seq == 0 {
		return 0, fmt.Errorf("answer of the server: %w", jetstream.ErrInvalidJSAck)
	}
	return said.Seq, nil
}
