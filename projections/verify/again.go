package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// atOnce is how many keys are asked for at once.
const atOnce = 16

// again asks for keys one by one, as they are now.
func (c *comparison) again(ctx context.Context, subjects []string) error {
	c.sum.Again = len(subjects)
	if len(subjects) == 0 {
		return nil
	}
	deadline := time.Now().Add(c.timeout) // of all together, lest a bucket that stands still takes it for each key
	work := make(chan string)
	var workers sync.WaitGroup
	var mu sync.Mutex // guards the report, and failed
	var failed error
	for range min(atOnce, len(subjects)) {
		workers.Go(func() {
			for s := range work {
				f, err := c.key(ctx, s, deadline)
				mu.Lock()
				if err != nil && failed == nil {
					failed = err
				}
				c.sum.Compared++
				if f.Kind != "" {
					f.Bucket = c.sum.Name
					c.report.add(f)
				}
				mu.Unlock()
			}
		})
	}
	for _, s := range subjects {
		work <- s
	}
	close(work)
	workers.Wait()
	return failed
}

// key compares one key with the log as both are now. The log may go on: what the
// bucket has must be what the log has at the place from which the server took it,
// and that must not be before the last message that there was when it was asked.
func (c *comparison) key(ctx context.Context, subject string, deadline time.Time) (Finding, error) {
	key, ok := c.ledger.projection.Key(subject)
	if !ok {
		return Finding{}, fmt.Errorf("no key of bucket %s comes from %s", c.sum.Name, subject)
	}
	for {
		f, settled, err := c.keyNow(ctx, subject, key)
		if err != nil || settled || time.Now().After(deadline) {
			f.Subject = key
			return f, err
		}
		t := time.NewTimer(20 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return f, ctx.Err()
		}
	}
}

// keyNow compares one key once. Where it is not settled, another try may tell
// otherwise.
func (c *comparison) keyNow(ctx context.Context, subject, key string) (f Finding, settled bool, err error) {
	last, err := c.lastOn(ctx, c.ledger.projection.Stream, subject)
	if err != nil {
		return f, false, err
	}
	if known, ok := c.ledger.last[subject]; ok && last == nil && c.ledger.projection.Stream == eventlog.LogStream {
		// The server says so too where the last message is damaged.
		last = &jetstream.RawStreamMsg{Sequence: known.sequence}
	}
	has, err := c.lastOn(ctx, eventlog.BucketStream(c.sum.Name), eventlog.KVSubject(c.sum.Name, key))
	if err != nil {
		return Finding{Kind: KeyMissing, Sequence: sequenceOf(last), Says: "the bucket does not give the key: " + err.Error()}, false, nil //nolint:nilerr // that is what was found
	}
	switch {
	case last == nil && has == nil:
		return f, true, nil // a stream in memory started over
	case has == nil && slices.Contains(c.passed, last.Sequence):
		return f, true, nil
	case has == nil:
		return Finding{Kind: KeyMissing, Sequence: last.Sequence, Says: "the log has a message for the key, the bucket has none"}, false, nil
	case last == nil:
		return Finding{Kind: KeyExtra, Says: fmt.Sprintf("the bucket has the key (%s), and the source says nothing of it", from(has))}, false, nil
	}
	_, at, ok := eventlog.SourceOf(has.Header)
	if !ok {
		return Finding{Kind: HeaderDiffers, Sequence: last.Sequence, Says: "the bucket's message does not say where it comes from (" + eventlog.HeaderStreamSource + ")"}, true, nil
	}
	origin, err := reader.MessageAt(ctx, c.js, c.ledger.projection.Stream, at)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound) && at < last.Sequence && c.ledger.projection.Stream == eventlog.PulseStream:
		f = Finding{} // replaced by the last
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Finding{Kind: ValueDiffers, Sequence: at, Says: fmt.Sprintf("the bucket says that it has message %d, which is not there", at)}, false, nil
	case err != nil:
		return f, false, err
	default:
		f = differs(subject, origin, has)
	}
	if f.Kind == "" && at < last.Sequence && !slices.Contains(c.passed, last.Sequence) {
		return Finding{Kind: KeyStale, Sequence: last.Sequence, Says: fmt.Sprintf("the bucket has message %d, the last is %d", at, last.Sequence)}, false, nil
	}
	return f, true, nil
}

// differs says how a bucket's message is other than that of the source from which
// it says to be; an empty Finding where it is not.
func differs(subject string, origin, has *jetstream.RawStreamMsg) Finding {
	want, got := entryOf(0, origin.Header, origin.Data), entryOf(0, has.Header, has.Data)
	f := Finding{Sequence: origin.Sequence}
	switch {
	case origin.Subject != subject:
		f.Kind, f.Says = ValueDiffers, fmt.Sprintf("the bucket says that it has message %d, which is of %s", origin.Sequence, origin.Subject)
	case want.data != got.data:
		f.Kind, f.Says = ValueDiffers, fmt.Sprintf("the bucket has %s, the log %s", excerpt(has.Data), excerpt(origin.Data))
	case want.header != got.header && origin.Header != nil: // one that cannot be read may look like anything in the bucket
		f.Kind, f.Says = HeaderDiffers, "the bucket's header is other than the log's: "+otherHeaders(origin.Header, has.Header)
	default:
		return Finding{}
	}
	return f
}

// lastOn is the last message on a subject; nil without one.
func (c *comparison) lastOn(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	m, err := reader.LastMessage(ctx, c.js, stream, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil //nolint:nilnil // there is none, and that is what was asked
	}
	return m, err
}

func sequenceOf(m *jetstream.RawStreamMsg) uint64 {
	if m == nil {
		return 0
	}
	return m.Sequence
}
