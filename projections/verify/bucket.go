package verify

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/buckets"
)

// compareBucket holds a bucket against its ledger: most keys by reading the
// bucket once, and one by one those that are not as the ledger has them, which in
// a fleet that lives are those that changed since.
func compareBucket(ctx context.Context, js jetstream.JetStream, bucket string, l *ledger, timeout time.Duration, r *Report) error {
	tell := func(k Kind, says string) { r.add(Finding{Kind: k, Bucket: bucket, Says: says}) }
	ofPulses := l.projection.Stream == eventlog.PulseStream
	if ofPulses {
		if err := l.fill(ctx, js); errors.Is(err, jetstream.ErrStreamNotFound) {
			tell(PulsesGone, "the stream of pulses is missing: it is in memory, and a restart of the server ends it; the operator creates it again")
			return nil
		} else if err != nil {
			return err
		}
	}
	found, err := buckets.Check(ctx, js, bucket)
	if err != nil {
		return err
	}
	switch found {
	case buckets.Missing:
		if ofPulses {
			tell(PulsesGone, "the bucket is missing: it is in memory, and a restart of the server ends it; the operator creates it again")
			return nil
		}
		tell(BucketMissing, "the bucket is missing: a running operator creates it again within seconds")
		return nil
	case buckets.Unfinished:
		tell(BucketUnfinished, "the bucket is being rebuilt, or its rebuild was cut short: it is not compared")
		return nil
	case buckets.Halted:
		tell(BucketHalted, "no server leads the bucket: it is not compared. An operator that runs rebuilds it where a device's message did that")
		return nil
	case buckets.OtherLog:
		tell(BucketOfOtherLog, "the bucket projects another log than this one: it is not compared")
		return nil
	}
	c := comparison{js: js, ledger: l, timeout: timeout, report: r, sum: Bucket{Name: bucket, Keys: len(l.last)}}
	if c.passed, err = buckets.Skipped(ctx, js, bucket); err != nil {
		return err
	}
	for _, sequence := range c.passed {
		if err := c.passedOver(ctx, sequence); err != nil {
			return err
		}
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	again, err := c.read(ctx)
	if err != nil {
		return err
	}
	if err := c.again(ctx, again); err != nil {
		return err
	}
	r.Buckets = append(r.Buckets, c.sum)
	return nil
}

// fill takes the pulses as they are: they are in no log.
func (l *ledger) fill(ctx context.Context, js jetstream.JetStream) error {
	for m, err := range reader.Stored(ctx, js, l.projection.Stream, 0) {
		if err != nil {
			return err
		}
		l.put(m.Subject, entryOf(m.Sequence, m.Header, m.Data))
	}
	return nil
}

// comparison is one bucket that is held against its ledger.
type comparison struct {
	js      jetstream.JetStream
	ledger  *ledger
	timeout time.Duration
	report  *Report
	sum     Bucket
	passed  []uint64 // messages that the bucket was moved past
}

// passedOver tells of a message that the bucket was moved past.
func (c *comparison) passedOver(ctx context.Context, sequence uint64) error {
	m, err := reader.MessageAt(ctx, c.js, c.ledger.projection.Stream, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // a pulse, and replaced
	}
	if err != nil {
		return err
	}
	c.report.add(Finding{
		Kind: Skipped, Bucket: c.sum.Name, Sequence: sequence, Subject: m.Subject,
		Says: "the NATS server refuses to store the message in the bucket, so the bucket was moved past it and has what its key had before: look at the device",
	})
	return nil
}

// settle lets the bucket come to where the ledger ends.
func (c *comparison) settle(ctx context.Context) error {
	var last uint64
	for _, e := range c.ledger.last {
		last = max(last, e.sequence)
	}
	bounded, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := buckets.WaitFor(bounded, c.js, c.sum.Name, last)
	if err != nil && bounded.Err() == nil && !errors.Is(err, buckets.ErrUnreadable) {
		return err
	}
	return ctx.Err() // a bucket that is behind shows key by key
}

// read reads the bucket once and gives the subjects of the source, of which the
// bucket is other than the ledger.
func (c *comparison) read(ctx context.Context) (again []string, _ error) {
	unseen := make(map[string]struct{}, len(c.ledger.last))
	for s := range c.ledger.last {
		unseen[s] = struct{}{}
	}
	prefix := eventlog.KVSubject(c.sum.Name, "")
	for m, err := range reader.Stored(ctx, c.js, eventlog.BucketStream(c.sum.Name), 0) {
		if err != nil {
			return nil, err
		}
		key, ok := strings.CutPrefix(m.Subject, prefix)
		if _, err := eventlog.ParseSubject(m.Subject); !ok && errors.Is(err, eventlog.ErrNoSubject) && strings.ContainsAny(m.Subject, "*>") {
			continue // the server could not transform it; it is foreign in the log
		}
		subject, err := eventlog.SubjectOfKey(c.sum.Name, key)
		if err != nil {
			c.report.add(Finding{Kind: KeyExtra, Bucket: c.sum.Name, Subject: key, Says: "the bucket has a key that no message of the log can have"})
			continue
		}
		_, sequence, _ := eventlog.SourceOf(m.Header)
		want, known := c.ledger.last[subject]
		if known && entryOf(sequence, m.Header, m.Data) == want {
			c.sum.Compared++
			delete(unseen, subject)
		} else if !known {
			unseen[subject] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(unseen)), nil
}
