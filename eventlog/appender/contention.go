package appender

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// codeDuplicateInProcess: another copy with the same id is on its way into the log.
const codeDuplicateInProcess jetstream.ErrorCode = 10158

// copies says how many copies of an append its n-th try sends: one, as long as
// nobody is in the way.
func copies(try int) int {
	if try < 2 {
		return 1
	}
	return 4 << min(try-2, 3) // 4, 8, 16, 32
}

// contend sends an append in several copies at once, with one id, so that one of
// them becomes an event and the others are duplicates. On a replicated stream
// only one message that claims the fence may be in flight, and anyone who floods
// the stream with such claims takes nearly every turn; the leader's chance at
// the next turn grows with its own share of the queue. It gives the sequence of
// the event, or why no copy got through.
func (a *Appender) contend(ctx context.Context, m *nats.Msg, n int) (uint64, error) {
	if n == 1 {
		ack, err := a.js.PublishMsg(ctx, m)
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	}
	sent := make([]jetstream.PubAckFuture, 0, n)
	var refused error
	for range n {
		f, err := a.js.PublishMsgAsync(&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
		if err != nil {
			refused = err
			break
		}
		sent = append(sent, f)
	}
	for _, f := range sent {
		select {
		case ack := <-f.Ok():
			return ack.Sequence, nil
		case err := <-f.Err():
			if refused == nil || code(err) != codeDuplicateInProcess {
				refused = err
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, refused
}
