package bisecting

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/bisect"
	"fleet.nationtech.io/projections/fleet"
)

// past is the fleet at the sequences that are looked at.
type past struct {
	ctx      context.Context
	s        cli.Streams
	js       jetstream.JetStream
	log      logstream.Info
	from, to uint64
	ask      judge

	// good is the last view at which it was not true: what is looked at next is later, and
	// is folded from there.
	good    []byte
	goodAt  uint64
	at      time.Time // of the last look
	missing string    // what the predicate did not find at the last look
}

// newPast finds the two ends in the log.
func newPast(ctx context.Context, s cli.Streams, js jetstream.JetStream, ends [2]asof.Moment, ask judge) (*past, error) {
	p := &past{ctx: ctx, s: s, js: js, ask: ask}
	var err error
	if p.log, err = logstream.Inspect(ctx, js); err != nil {
		return nil, err
	}
	for i, at := range []*uint64{&p.from, &p.to} {
		if *at, err = asof.Sequence(ctx, js, ends[i]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// look judges the fleet at a sequence.
func (p *past) look(sequence uint64) (bisect.Verdict, error) {
	progress := render.NewProgress(p.s, fmt.Sprintf("folding the log up to %d", sequence))
	defer progress.End()
	o := asof.Options{Progress: progress.Report}
	if p.good != nil && p.goodAt <= sequence {
		base, err := fleet.Decode(p.good)
		if err != nil {
			return bisect.Skip, err
		}
		o.From = base
	}
	v, err := asof.AtSequence(p.ctx, p.js, p.log, sequence, o)
	if err != nil {
		return bisect.Skip, err
	}
	p.at = v.Recorded
	said, missing, err := p.ask(p.ctx, v)
	if p.missing = missing; err != nil || said != bisect.No {
		return said, err
	}
	p.good, err = fleet.Encode(v)
	p.goodAt = sequence
	return said, err
}

// missed says what the predicate did not find at the last look.
func (p *past) missed() string {
	if p.missing == "" {
		return ""
	}
	return fmt.Sprintf(" (there is no %s, which the predicate looks at)", p.missing)
}
