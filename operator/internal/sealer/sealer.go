// Package sealer has the leader seal the log: it follows the log into a Merkle
// tree (projections/seal), and when enough has come proposes a signed head, which
// the decider appends as it appends all else, behind the fence. Nothing that is
// decided waits for it.
package sealer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/eventlog/pause"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/lag"
	"fleet.nationtech.io/projections/seal"
)

const (
	// look is how often it is looked whether a seal is due, at least.
	look = time.Second
	// retry is how long a key or a log that cannot be had is left alone.
	retry = time.Second
	// handedTimeout is how long a seal that was handed out may take to come back
	// from the log before another is made: one that a full log refused, say.
	handedTimeout = 30 * time.Second
)

// ReasonSealBroken is the reason of the Event that says that a seal contradicts the
// log, so that the operator seals nothing any more.
const ReasonSealBroken = "SealBroken"

// Options wire a Sealer.
type Options struct {
	JS jetstream.JetStream
	// Key gives the key that signs. It is asked once a process, and again after it
	// failed.
	Key func(context.Context) (nkeys.KeyPair, error)
	// Events and Interval say when a seal is due: after so many events, and after
	// so long where there were fewer.
	Events   int
	Interval time.Duration
	// Propose is called when Due has a seal.
	Propose func()
	// Broken is called, once, when a seal of the log contradicts the log: nothing is
	// sealed any more.
	Broken  func(error)
	Metrics *Metrics
	Now     func() time.Time
	Logger  *slog.Logger
}

// Sealer seals while its replica leads. What it knows of the log it keeps from
// one term to the next.
type Sealer struct {
	options Options

	mu     sync.Mutex // Lead's goroutine alone changes what is below, and holds it for that
	key    nkeys.KeyPair
	public string
	log    string  // id of the log that ledger is of
	ledger *ledger // nil before the first term, and after the log went back
	others map[string]struct{}
	broken error
	leads  bool
	token  uint64     // the term's election: a head must cover it
	head   *seal.Tree // what is proposed; nil for nothing
	handed time.Time  // when it was handed out; zero: not yet
}

// New wires a sealer.
func New(o Options) *Sealer { return &Sealer{options: o, others: map[string]struct{}{}} }

// errBroken says that a seal contradicts the log.
var errBroken = errors.New("the event log differs from what was sealed")

// Lead seals until the term ends. token is that of the term's election.
func (s *Sealer) Lead(ctx context.Context, token uint64) {
	s.mu.Lock()
	s.token, s.head, s.leads = token, nil, true
	broken := s.broken
	s.mu.Unlock()
	defer s.ended()
	defer s.options.Metrics.lag.Set(0) // who does not lead does not know it
	if broken != nil || !s.haveKey(ctx) {
		return
	}
	var looking sync.WaitGroup
	defer looking.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	wake := make(chan struct{}, 1)
	looking.Go(func() { s.look(ctx, wake) })
	for ctx.Err() == nil {
		err := s.follow(ctx, wake)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errBroken), errors.Is(err, seal.ErrGap):
			s.breakOff(err)
			return
		case errors.Is(err, reader.ErrLogReset):
			s.forget()
		default:
			s.options.Logger.Warn("cannot follow the event log to seal it; will retry", "error", err)
		}
		pause.For(ctx, retry)
	}
}

// haveKey waits until there is a key.
func (s *Sealer) haveKey(ctx context.Context) bool {
	said := false
	for s.key == nil {
		key, err := s.options.Key(ctx)
		if err == nil {
			s.public, err = key.PublicKey()
		}
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			s.key = key
			s.options.Logger.Info("sealing the event log with this key: pin it where the log is verified", "public_key", s.public)
		case !said:
			said = true
			s.options.Logger.Error("cannot read the seal key, so the event log is not sealed; will retry", "error", err)
			fallthrough
		default:
			pause.For(ctx, retry)
		}
	}
	return true
}

func (s *Sealer) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leads = false
}

// Reading is how far the log is sealed, while the replica leads and seals.
func (s *Sealer) Reading() (r lag.Reading, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leads || s.broken != nil || s.ledger == nil {
		return r, false
	}
	r = lag.Reading{LogID: s.log, Sequence: s.ledger.size()}
	if s.ledger.unsealed > 0 {
		r.Owed = s.ledger.oldest
	}
	return r, true
}

func (s *Sealer) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head == nil && s.ledger.unsealed >= s.options.Events
}

// forget drops the ledger: the log was replaced or truncated.
func (s *Sealer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger, s.head = nil, nil
}

// breakOff stops sealing for as long as the process lives.
func (s *Sealer) breakOff(err error) {
	s.mu.Lock()
	s.broken, s.head = err, nil
	s.mu.Unlock()
	s.options.Metrics.broken.Set(1)
	s.options.Logger.Error("the event log contradicts a seal: the operator seals nothing any more; see fleetctl verify", "error", err)
	s.options.Broken(err)
}
