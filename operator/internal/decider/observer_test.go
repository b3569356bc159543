package decider_test

import (
	"context"
	"log/slog"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/projections/fleet"
)

// observer remembers what it is told. Its functions may be nil.
type observer struct {
	settled, failed []decide.Input
	appended        func([]eventlog.Draft)
	full            func() (room bool)
	initialPassDone func() error
}

var _ decider.Observer = (*observer)(nil)

func (o *observer) Settled(ins []decide.Input) { o.settled = append(o.settled, ins...) }
func (o *observer) Failed(ins []decide.Input)  { o.failed = append(o.failed, ins...) }

func (o *observer) Appended(drafts []eventlog.Draft) {
	if o.appended != nil {
		o.appended(drafts)
	}
}

func (o *observer) LogFull(context.Context) bool { return o.full != nil && o.full() }

func (o *observer) InitialPassDone(context.Context) error {
	if o.initialPassDone == nil {
		return nil
	}
	return o.initialPassDone()
}

// newDecider wires a decider over a log, whose devices are all online.
func newDecider(l *log, awaitingFinalizer bool) (*decider.Decider, *decider.Queue) {
	queue := decider.NewQueue()
	return decider.New(decider.Options{
		Queue: queue, State: l,
		Verdict:           func(string) decide.Verdict { return decide.Verdict{Online: fleet.OnlineTrue, LastSeen: time.Now()} },
		AwaitingFinalizer: func(fleet.Key) bool { return awaitingFinalizer },
		Now:               time.Now, Logger: slog.New(slog.DiscardHandler),
	}), queue
}
