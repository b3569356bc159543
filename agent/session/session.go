// Package session follows what the log wants of this device: it asks for the
// whole of it at each connection, then follows the values as they change, and
// believes nothing that others could have aimed at it.
package session

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/agent/reject"
	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
)

// Defaults of Options.
const (
	DefaultResync     = 5 * time.Minute
	DefaultStaleGrace = time.Minute
	DefaultTimeout    = 10 * time.Second
	DefaultRetry      = 250 * time.Millisecond
	DefaultMaxRetry   = 15 * time.Second
)

const (
	liveBuffer   = 1024 // values that may wait; one lost is seen and asked for
	answerBuffer = 8192
)

// Store keeps what the session learns.
type Store interface {
	Desired() []store.Desired
	Position() store.Position
	Apply(changes []store.Desired, p store.Position) error
}

// Options wire a Session. Device, Bus and Store are required.
type Options struct {
	Device string
	Bus    *bus.Bus
	Store  Store

	// Changed is called after the store has learned something.
	Changed func()
	// LogChanged is called when the log is another one or has lost its tail, so
	// that what was reported to it may be gone.
	LogChanged func()

	Rejected   *reject.Log
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Clock      func() time.Time

	Resync     time.Duration // between two questions when nothing happens, ± a fifth
	StaleGrace time.Duration // how long the log must insist that it went back
	Timeout    time.Duration // of silence after a question or a part of its answer
	Retry      time.Duration // after the first question without an answer; then it doubles
	MaxRetry   time.Duration
}

// Session is the device's end of sync and live.
type Session struct {
	options  Options
	metrics  *metrics
	known    *desiredSet
	asked    chan struct{}
	told     chan change
	messages chan received
	ended    chan struct{}

	feeds    []*feed   // in the order in which their connections were opened
	question *question // the open one
	next     time.Time // when to ask again; zero while a question is open or the bus is away
	failures int       // questions in a row without an answer that was believed
	again    bool      // ask once more when the open question is done
}

// question is one sync that is under way.
type question struct {
	nonce    string
	feed     *feed // on which it was asked
	deadline time.Time
	values   []store.Desired
}

// New wires a session. It fails where something required is missing.
func New(o Options) (*Session, error) {
	if o.Device == "" || o.Bus == nil || o.Store == nil {
		return nil, errors.New("a session needs a device, a bus and a store")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	nothing := func() {}
	if o.Changed == nil {
		o.Changed = nothing
	}
	if o.LogChanged == nil {
		o.LogChanged = nothing
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&o.Resync, DefaultResync},
		{&o.StaleGrace, DefaultStaleGrace},
		{&o.Timeout, DefaultTimeout},
		{&o.Retry, DefaultRetry},
		{&o.MaxRetry, DefaultMaxRetry},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Session{
		options: o, metrics: m, asked: make(chan struct{}, 1),
		told: make(chan change, 16), messages: make(chan received), ended: make(chan struct{}),
	}, nil
}

// Resync asks for the whole desired set soon. It never waits.
func (s *Session) Resync() {
	select {
	case s.asked <- struct{}{}:
	default: // it will be asked anyway
	}
}

// Run follows until the context ends; then it returns nil.
func (s *Session) Run(ctx context.Context) error {
	s.known = newDesiredSet(s.options.Store.Desired(), s.options.Store.Position(), s.options.StaleGrace)
	defer close(s.ended)
	leave, err := s.options.Bus.Add(bus.Part{Join: s.join, Up: s.up, Down: s.down, Ready: s.ready})
	if err != nil {
		return err
	}
	defer func() { go leave() }() // the bus may be about to tell us something
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.untilDue())
		select {
		case <-ctx.Done():
			return nil
		case c := <-s.told:
			s.take(c)
		case m := <-s.messages:
			if m.live {
				s.takeLive(m.feed, m.msg)
			} else {
				s.takeAnswer(m.feed, m.msg)
			}
		case <-s.asked:
			s.askSoon()
		case <-timer.C:
			s.due()
		}
	}
}

// begin starts a session: nothing was heard for a while.
func (s *Session) begin() {
	s.known.begin()
	s.failures, s.again = 0, false
	s.ask()
}

func (s *Session) untilDue() time.Duration {
	due := s.next
	if s.question != nil {
		due = s.question.deadline
	}
	if due.IsZero() {
		return time.Hour
	}
	return max(0, due.Sub(s.options.Clock()))
}

func (s *Session) due() {
	now := s.options.Clock()
	switch {
	case s.question != nil && !now.Before(s.question.deadline):
		s.failed(resultNoAnswer)
	case s.question == nil && !s.next.IsZero() && !now.Before(s.next):
		s.ask()
	}
}

// askSoon asks at once, or again after the question that is open: its answer
// may have been read before whatever is the reason to ask.
func (s *Session) askSoon() {
	switch {
	case s.question != nil:
		s.again = true
	case s.newest() != nil:
		s.ask()
	}
}

// ask asks on the newest connection that stands: an older one may be about to
// end. It does nothing where none stands; the next one that does is asked on.
func (s *Session) ask() {
	o, f := s.options, s.newest()
	if f == nil {
		s.question, s.next = nil, time.Time{}
		return
	}
	q := &question{nonce: rand.Text(), feed: f, deadline: o.Clock().Add(o.Timeout)}
	s.question, s.next, s.again = q, time.Time{}, false
	m := nats.NewMsg(eventlog.SyncSubject(o.Device))
	m.Reply = f.inbox
	m.Header.Set(eventlog.HeaderSync, q.nonce)
	if err := f.link.Publish(m); err != nil {
		o.Logger.Debug("sync request not sent", "error", err)
		s.failed(resultNoAnswer)
	}
}

// failed gives up the open question and asks again, later each time.
func (s *Session) failed(result string) {
	s.metrics.syncs.WithLabelValues(result).Inc()
	s.failures++
	wait := min(s.options.MaxRetry, s.options.Retry<<min(s.failures-1, 16))
	s.options.Logger.Debug("no usable answer to a sync", "result", result, "failures", s.failures, "next", wait)
	s.question, s.next = nil, s.options.Clock().Add(wait/2+mathrand.N(wait))
}
