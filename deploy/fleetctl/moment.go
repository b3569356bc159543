package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
)

// momentHelp is what the flags of a moment take, for the long help of commands
// that have them.
const momentHelp = `A moment is a sequence of the log (1234), a time (2026-11-24T14:03:00Z, or
"2026-11-24 14:03" in this machine's zone; 14:03 alone is the last 14:03), or how
long ago (-15m, -2h, -3d). --at asks what the log knew then. With --as-happened it
is asked what was true then: a report that came late, from a device that was
offline, counts from when it happened.`

// momentFlags are the flags by which a person names a moment of the past. Every
// command that reads the fleet has them.
type momentFlags struct {
	at         string
	asHappened bool
}

func (f *momentFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "the fleet at a moment: a sequence (1234), a time (14:03, RFC 3339) or how long ago (-15m); default now")
	flags.BoolVar(&f.asHappened, "as-happened", false, "by when things happened, not by when the log learned of them")
	completeMoments(cmd, "at")
}

// parse reads the flags against the person's clock.
func (f momentFlags) parse(s Streams) (moment, error) {
	m, err := parseMoment(s, "--at", f.at)
	return moment{Moment: m, AsHappened: f.asHappened}, err
}

// parseMoment reads what a person gave to a flag.
func parseMoment(s Streams, flag, text string) (asof.Moment, error) {
	m, err := asof.ParseMoment(text, s.Now())
	if err != nil {
		return m, misused(fmt.Errorf("%s %w", flag, err), flag+" -15m")
	}
	if m.Time.After(s.Now().Add(clockSkew)) {
		s.warn("Note: %s %s is yet to come; this is now.\n", flag, text)
	}
	return m, nil
}

// clockSkew is how far this machine's clock may be behind the server's before a
// time that the server gave counts as one that is yet to come.
const clockSkew = time.Minute

// inOrder refuses a stretch that ends before it begins, where that can be seen
// without the log.
func inOrder(from, to asof.Moment, fromText, toText string) error {
	switch {
	case from.Sequence > 0 && to.Sequence > 0 && from.Sequence > to.Sequence:
	case from.Sequence == 0 && to.Sequence == 0 && !to.IsNow() && from.Time.After(to.Time):
	default:
		return nil
	}
	return misused(fmt.Errorf("%s is after %s", fromText, toText), "an earlier beginning, or a later end")
}

// moment is a moment of the past, and which of the two times it is about.
type moment struct {
	asof.Moment
	AsHappened bool // by when things happened; else by when the log learned of them
}

// clock is the time that ages are counted to: the moment's own.
func (m moment) clock(s Streams, v *fleet.View) time.Time {
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

// view gives the fleet at a moment. Its errors say what to try; where it takes
// long, a terminal shows how far it is.
func (c *connection) view(ctx context.Context, s Streams, nc *nats.Conn, js jetstream.JetStream, m moment) (*fleet.View, error) {
	ctx, stop := c.permitted(ctx)
	defer stop()
	p := s.progress("folding the log")
	v, err := asof.At(ctx, js, m.Moment, asof.Options{AsHappened: m.AsHappened, Progress: p.report})
	p.end()
	if err != nil {
		return nil, c.explain(err, nc)
	}
	return v, nil
}

// timed gives a moment that has a time where it needs one: to ask what had
// happened at a sequence is to ask by the time at which the log recorded it.
func (c *connection) timed(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, m moment) (moment, error) {
	if !m.AsHappened || m.Sequence == 0 {
		return m, nil
	}
	if _, err := asof.Sequence(ctx, js, m.Moment); err != nil {
		return m, c.explain(err, nc)
	}
	at, err := timeOf(ctx, js, m.Moment)
	if err != nil {
		return m, c.explain(err, nc)
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
		return failed(err, "a moment from then on; sequence 1 is the first event")
	case errors.Is(err, asof.ErrBeyondEnd):
		return failed(err, "a sequence up to that one, or none for now")
	}
	return nil
}
