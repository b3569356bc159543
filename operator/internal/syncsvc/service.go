// Package syncsvc answers the devices that ask for their whole desired state.
// Every replica answers, in one queue group, leader or not.
package syncsvc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/internal/state"
)

const flushTimeout = time.Second

// queueGroup makes the replicas share the requests.
const queueGroup = "fleet-sync"

// Fold is the replica's fold of the log. ok is false until it has caught up.
type Fold interface {
	Position(device string) (p state.Position, ok bool)
}

// Bucket reads what the log's projection holds for a device.
type Bucket interface {
	Read(ctx context.Context, device string, names []string) ([]*nats.Msg, error)
}

// Options bound a Service. The zero value of each field is usable.
type Options struct {
	Workers int           // answers made at a time; 0: 8
	Waiting int           // devices that may wait for theirs; 0: 8192
	Timeout time.Duration // how long a bucket that lags behind the fold is waited for; 0: 2 s
	Drain   time.Duration // how long a replica that ends goes on answering; 0: 2 s
	// Log asks the log about itself: what a restored one says is withheld until
	// it has been reconciled. Without it, nothing is.
	Log      func(context.Context) (logstream.Info, error)
	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// Service answers sync requests.
//
// Guarantee: an answer ends with the end marker only if it holds, for each name, the
// last desired event that this replica's fold knows at the position that the marker
// gives, and nothing that the fold does not know yet. So it never takes a bucket that lags, is half rebuilt,
// or belongs to another log for the truth. And nothing is answered out of a
// restored log before the leader has reconciled it with the cluster.
type Service struct {
	nc      *nats.Conn
	fold    Fold
	bucket  Bucket
	options Options
	metrics metrics
	gate    gate

	mu      sync.Mutex
	waiting map[string]*request // the newest of each device
	turn    chan string         // devices in the order in which they came
}

// New wires a service.
func New(nc *nats.Conn, fold Fold, bucket Bucket, o Options) *Service {
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.Waiting == 0 {
		o.Waiting = 8192
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Drain == 0 {
		o.Drain = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{
		nc: nc, fold: fold, bucket: bucket, options: o, metrics: newMetrics(o.Registry),
		gate: gate{log: o.Log}, waiting: map[string]*request{}, turn: make(chan string, o.Waiting),
	}
}

// Run answers until the context ends. Then it takes no more questions, and answers
// those that it has taken, for Options.Drain at most. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	subject := eventlog.SyncSubject(eventlog.Wildcard)
	sub, err := s.nc.QueueSubscribe(subject, queueGroup, s.take)
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", subject, err)
	}
	drained := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(drained) })
	answering, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var workers sync.WaitGroup
	for range s.options.Workers {
		workers.Go(func() { s.work(answering) })
	}
	<-ctx.Done()
	defer time.AfterFunc(s.options.Drain, end).Stop()
	if err := sub.Drain(); err != nil {
		end() // the connection is closed: nobody would get an answer
	}
	select {
	case <-drained:
		close(s.turn) // nothing is taken any more
	case <-answering.Done():
	}
	workers.Wait()
	_ = s.nc.FlushTimeout(flushTimeout) // whom an answer does not reach asks another replica
	return nil
}

// take queues a request. A device that asks again before its turn is answered
// once, to its newest question, so that asking often takes no turn of another's.
func (s *Service) take(m *nats.Msg) {
	r, err := parse(m)
	if err != nil {
		s.metrics.answered(resultInvalid)
		s.options.Logger.Debug("sync request refused", "subject", m.Subject, "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, again := s.waiting[r.device]; again {
		s.waiting[r.device] = r
		return
	}
	select {
	case s.turn <- r.device:
		s.waiting[r.device] = r
	default:
		s.refuse(r, reasonBusy, "too many devices ask at once; ask again")
	}
}

func (s *Service) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case device, ok := <-s.turn:
			if !ok {
				return
			}
			s.mu.Lock()
			r := s.waiting[device]
			delete(s.waiting, device)
			s.mu.Unlock()
			s.answer(ctx, r)
		}
	}
}

func (s *Service) answer(ctx context.Context, r *request) {
	began := time.Now()
	a, err := s.gather(ctx, r.device)
	var not *notYet
	switch {
	case err == nil:
		s.send(r, a)
		s.metrics.took(time.Since(began))
	case errors.As(err, &not):
		s.refuse(r, not.reason, not.message)
	case ctx.Err() != nil:
		// The replica ends; the device asks another one.
	default:
		s.options.Logger.Warn("cannot answer a sync request", "device", r.device, "error", err)
		s.refuse(r, eventlog.SyncNotReady, "the bucket cannot be read; ask again")
	}
}

// notYet is why there is no answer at this moment.
type notYet struct {
	reason, message string
}

func (e *notYet) Error() string { return e.message }

// gather reads the bucket until it agrees with the fold.
func (s *Service) gather(ctx context.Context, device string) (answer, error) {
	deadline := time.Now().Add(s.options.Timeout)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		before, ok := s.fold.Position(device)
		if !ok {
			return answer{}, &notYet{eventlog.SyncNotReady, "this replica has not caught up with the event log yet; ask again"}
		}
		if err := s.gate.check(ctx, before); err != nil {
			return answer{}, err
		}
		msgs, err := s.bucket.Read(ctx, device, before.Names)
		if err != nil {
			return answer{}, err
		}
		last, err := lastSource(msgs)
		if err != nil {
			return answer{}, err
		}
		after, ok := s.fold.Position(device)
		if ok && before.LogID == after.LogID && after.LastDesired <= last && last <= after.Sequence && holds(msgs, after.Desired) {
			return answer{position: after, msgs: msgs}, nil
		}
		if time.Now().After(deadline) {
			return answer{}, &notYet{eventlog.SyncRebuilding, "the bucket does not agree with the event log yet; ask again"}
		}
		select {
		case <-ctx.Done():
			return answer{}, ctx.Err()
		case <-time.After(wait):
		}
	}
}
