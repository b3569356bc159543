package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
)

// ParseMoment reads what a person gave to a flag.
func ParseMoment(s cli.Streams, flag, text string) (asof.Moment, error) {
	m, err := asof.ParseMoment(text, s.Now())
	if err != nil {
		return m, cli.Misused(fmt.Errorf("%s %w", flag, err), flag+" -15m")
	}
	if m.Time.After(s.Now().Add(clockSkew)) {
		s.Warn("Note: %s %s is in the future; this is now.\n", flag, text)
	}
	return m, nil
}

// clockSkew is how far this machine's clock may be behind the server's before a
// time that the server gave counts as one that is yet to come.
const clockSkew = time.Minute

// CheckOrder refuses an interval that ends before it begins, where that can be seen
// without the log.
func CheckOrder(from, to asof.Moment, fromText, toText string) error {
	switch {
	case from.Sequence > 0 && to.Sequence > 0 && from.Sequence > to.Sequence:
	case from.Sequence == 0 && to.Sequence == 0 && !to.IsNow() && from.Time.After(to.Time):
	default:
		return nil
	}
	return cli.Misused(fmt.Errorf("%s is after %s", fromText, toText), "an earlier beginning, or a later end")
}

// Moment is a moment of the past, and which of the two times it is about.
type Moment struct {
	asof.Moment
	AsHappened bool // by when things happened; else by when the log learned of them
}

// Clock is the time that ages are counted to: the moment's own.
func (m Moment) Clock(s cli.Streams, v *fleet.View) time.Time {
	switch {
	case m.IsNow():
		return s.Now()
	case m.Sequence > 0:
		return v.Recorded
	}
	if now := s.Now(); m.Time.After(now) {
		return now // what is yet to come is not known
	}
	return m.Time
}

// View folds the log up to a moment. Its errors say what to try. report receives how
// much of the log is folded.
func (c *Connection) View(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, m Moment, report func(done, total uint64)) (*fleet.View, error) {
	ctx, stop := c.Permitted(ctx)
	defer stop()
	v, err := asof.At(ctx, js, m.Moment, asof.Options{AsHappened: m.AsHappened, Progress: report})
	if err != nil {
		return nil, c.Explain(err, nc)
	}
	return v, nil
}

// WithTime gives a moment that has a time where it needs one: to ask what had
// happened at a sequence is to ask by the time at which the log recorded it.
func (c *Connection) WithTime(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, m Moment) (Moment, error) {
	if !m.AsHappened || m.Sequence == 0 {
		return m, nil
	}
	if _, err := asof.Sequence(ctx, js, m.Moment); err != nil {
		return m, c.Explain(err, nc)
	}
	at, err := timeOf(ctx, js, m.Moment)
	if err != nil {
		return m, c.Explain(err, nc)
	}
	m.Moment = asof.Moment{Time: at}
	return m, nil
}

// timeOf is a moment's time: of a sequence, that at which the log recorded it.
func timeOf(ctx context.Context, js jetstream.JetStream, m asof.Moment) (time.Time, error) {
	if m.Sequence == 0 {
		return m.Time, nil
	}
	at, err := reader.MessageAt(ctx, js, eventlog.LogStream, m.Sequence)
	if err != nil {
		return time.Time{}, err
	}
	return at.Time, nil
}

// explainMoment says what to try where the log does not reach a moment, and nil
// for other errors.
func explainMoment(err error) error {
	switch {
	case errors.Is(err, asof.ErrBeforeBeginning):
		return cli.Failed(err, "a moment from then on; sequence 1 is the first event")
	case errors.Is(err, asof.ErrBeyondEnd):
		return cli.Failed(err, "a sequence up to that one, or none for now")
	}
	return nil
}

// ParseAgo reads a flag that takes a moment, and also how long ago without the
// sign: 15m, 2h30m or 3d.
func ParseAgo(s cli.Streams, flag, text string) (asof.Moment, error) {
	if d, err := asof.ParseDuration(text); err == nil && text != "0" { // a bare number is a sequence
		return asof.Moment{Time: s.Now().Add(-d)}, nil
	}
	m, err := asof.ParseMoment(text, s.Now())
	if err != nil {
		return m, cli.Misused(fmt.Errorf("%s %w", flag, err), flag+" 15m")
	}
	return m, nil
}
