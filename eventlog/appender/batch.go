package appender

import (
	"context"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	maxBatchMessages = 1000 // messages in one atomic batch: the server's limit
	maxBatchTries    = 4    // tries of a batch before its messages go one by one
	maxBatchBytes    = 16 << 20
)

// batches sends atomic batches, the first message of each with the fence: on a
// replicated stream only one fenced message may be in flight.
func (a *Appender) batches(ctx context.Context, drafts []eventlog.Draft) (uint64, error) {
	var last uint64
	made := eventlog.Envelopes{Source: a.options.Source}
	for len(drafts) > 0 {
		n, bytes := 0, 0
		for n < len(drafts) && n < maxBatchMessages && (n == 0 || bytes+len(drafts[n].Data) < maxBatchBytes) {
			bytes += len(drafts[n].Data)
			n++
		}
		msgs := make([]*nats.Msg, n)
		for i := range n {
			msgs[i] = made.Message(&drafts[i], a.options.NewID())
		}
		seq, err := a.batch(ctx, msgs)
		last = max(last, seq)
		if err != nil {
			return last, err
		}
		drafts = drafts[n:]
	}
	return last, nil
}

// batch appends messages whole or not at all, and tries again where the server
// says that another fenced append is in flight. The ids stay over its tries.
func (a *Appender) batch(ctx context.Context, msgs []*nats.Msg) (uint64, error) {
	fence(msgs[0], a.token)
	if len(msgs) == 1 {
		return a.publish(ctx, msgs[0], a.token)
	}
	flow := jetstreamext.BatchFlowControl{AckFirst: true, AckEvery: 200, AckTimeout: ackTimeout}
	for try := 1; ; try++ {
		bounded, cancel := context.WithTimeout(ctx, ackTimeout)
		ack, err := jetstreamext.PublishMsgBatch(bounded, a.js, msgs, flow)
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		switch code(err) {
		case jetstreamext.JSErrCodeAtomicPublishTooManyInflight:
			return a.oneByOne(ctx, msgs)
		case jetstream.JSErrCodeStreamWrongLastSequenceConstant, jetstreamext.JSErrCodeBatchPublishIncomplete:
			if try >= maxBatchTries {
				return a.oneByOne(ctx, msgs) // a single append can press, a batch cannot
			}
			if err := a.options.Retry(ctx, try); err != nil {
				return 0, err
			}
		default:
			return 0, refusal(err, a.token)
		}
	}
}

// oneByOne is the way where too many batches are open, as a hostile device can
// hold them: slower, and as safe.
func (a *Appender) oneByOne(ctx context.Context, msgs []*nats.Msg) (uint64, error) {
	var last uint64
	for _, m := range msgs {
		for _, h := range []string{jetstreamext.BatchIDHeader, jetstreamext.BatchSeqHeader, jetstreamext.BatchCommitHeader} {
			m.Header.Del(h)
		}
		m.Reply = ""
		fence(m, a.token)
		seq, err := a.publish(ctx, m, a.token)
		if err != nil {
			return last, err
		}
		last = seq
	}
	return last, nil
}
