package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// window bounds the appends in flight on a stream of one replica.
const window = 4096

// pipeline keeps up to window fenced appends in flight. The first refusal stops
// it; what is in flight then is waited for, so that the caller knows what the
// log took, or that nobody knows.
func (a *Appender) pipeline(ctx context.Context, drafts []Draft) (uint64, error) {
	p := inFlight{token: a.token}
	for _, d := range drafts {
		if p.settle(ctx, window-1); p.err != nil {
			break
		}
		m := d.Message(a.options.Source, a.options.NewID())
		fence(m, a.token)
		f, err := a.js.PublishMsgAsync(m, jetstream.WithStallWait(ackTimeout))
		if err != nil {
			p.fail(fmt.Errorf("%s: %w: %w", d.Type, ErrUncertain, err))
			break
		}
		p.futures = append(p.futures, f)
	}
	p.settle(ctx, 0)
	return p.last, p.err
}

// inFlight are the appends that await their answers, oldest first.
type inFlight struct {
	token   uint64
	futures []jetstream.PubAckFuture
	last    uint64 // the highest sequence that was acknowledged
	err     error  // the worst of what was heard
}

// settle waits for answers until at most keep are outstanding.
func (p *inFlight) settle(ctx context.Context, keep int) {
	for len(p.futures) > keep {
		select {
		case ack := <-p.futures[0].Ok():
			p.last = max(p.last, ack.Sequence)
		case err := <-p.futures[0].Err():
			p.fail(refusal(err, p.token))
		case <-ctx.Done():
			p.fail(fmt.Errorf("%w: %w", ErrUncertain, ctx.Err()))
			return
		}
		p.futures = p.futures[1:]
	}
}

// fail keeps the first error, but for one that tells more: deposed outweighs
// all, since nothing that is in flight can be taken any more; and not to know
// outweighs a full log.
func (p *inFlight) fail(err error) {
	switch {
	case p.err == nil,
		errors.Is(err, ErrDeposed) && !errors.Is(p.err, ErrDeposed),
		errors.Is(err, ErrUncertain) && errors.Is(p.err, ErrLogFull):
		p.err = err
	}
}
