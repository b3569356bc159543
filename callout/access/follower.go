// Package access knows whose access to the bus is revoked, and how often and how
// many times at once an identity connects. It ends connections that may not be.
package access

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/pause"
	"fleet.nationtech.io/eventlog/reader"
)

const (
	// DefaultGrace is how long a replica goes on by what it read when it can read
	// the log no more.
	DefaultGrace = time.Hour

	probeInterval = time.Second
	probeTimeout  = 2 * time.Second
	retryInterval = time.Second
	staleAfter    = 5 * time.Second
)

// FollowerOptions wire a Follower. Zero values mean the defaults.
type FollowerOptions struct {
	JetStream jetstream.JetStream // of account FLEET
	Grace     time.Duration
	// Revoked is told each subject whose access was revoked, after the follower has
	// caught up, and all of them at that moment.
	Revoked func(subject string)
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *Metrics
}

// Follower follows the events of family access. Whether it has read all of them it
// learns from the stream's leader.
type Follower struct {
	options FollowerOptions
	began   time.Time

	mu      sync.Mutex
	serving *book // nil before the follower has caught up
	reading *book // the same one, but for a log that is being read from its beginning
	current time.Time
	stale   bool
}

// book has what the log said last of each subject.
type book struct {
	revoked  map[string]eventlog.Access
	sequence uint64 // of the last event
}

// NewFollower wires a Follower.
func NewFollower(o FollowerOptions) *Follower {
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Revoked == nil {
		o.Revoked = func(string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	f := &Follower{options: o, began: o.Now()}
	lag := f.lag
	o.Metrics.lag.Store(&lag)
	return f
}

// Run follows until the context ends.
func (f *Follower) Run(ctx context.Context) error {
	var probing sync.WaitGroup
	probing.Go(func() { f.probe(ctx) })
	defer probing.Wait()
	for ctx.Err() == nil {
		f.begin()
		for e, err := range reader.Follow(ctx, f.options.JetStream, reader.Options{Subjects: []string{eventlog.FamilySubjects(eventlog.FamilyAccess)}}) {
			if err == nil || errors.Is(err, eventlog.ErrForeign) {
				f.apply(e, err)
				continue
			}
			if ctx.Err() == nil {
				f.options.Logger.Warn("the events of access are read from their beginning again", "error", err)
			}
		}
		pause.For(ctx, retryInterval)
	}
	return nil
}

// begin reads into a new book, and keeps serving the old one until the new one has
// all that the log has.
func (f *Follower) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading = &book{revoked: map[string]eventlog.Access{}}
}

func (f *Follower) apply(e eventlog.Event, foreign error) {
	a, err := eventlog.Payload[eventlog.Access](e)
	if foreign == nil {
		foreign = err
	}
	f.mu.Lock()
	f.reading.sequence = e.Sequence
	subject := e.Address.Device
	live := f.reading == f.serving
	if foreign == nil {
		switch e.Type {
		case eventlog.AccessRevoked:
			f.reading.revoked[subject] = a
		case eventlog.AccessAllowed:
			delete(f.reading.revoked, subject)
			live = false
		default:
			live = false // a type of a newer version
		}
	}
	n := len(f.reading.revoked)
	f.mu.Unlock()
	if foreign != nil {
		f.options.Logger.Warn("an event of access cannot be read and changes nothing", "sequence", e.Sequence, "error", foreign)
		return
	}
	f.options.Metrics.revoked.Set(float64(n))
	if live {
		f.options.Revoked(subject)
	}
}

// probe asks the stream's leader for the last event of access, and compares.
func (f *Follower) probe(ctx context.Context) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, probeTimeout)
		asked := f.options.Now()
		last, err := reader.LastSequence(bounded, f.options.JetStream, eventlog.LogStream, eventlog.FamilySubjects(eventlog.FamilyAccess))
		cancel()
		f.compare(ctx, last, asked, err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (f *Follower) compare(ctx context.Context, last uint64, asked time.Time, err error) {
	f.mu.Lock()
	var revoked []string
	if err == nil && f.reading != nil && f.reading.sequence >= last {
		if f.serving != f.reading {
			f.serving = f.reading
			for subject := range f.serving.revoked {
				revoked = append(revoked, subject)
			}
			f.options.Logger.Info("all events of access are read", "revoked", len(revoked))
		}
		f.current = asked
		f.options.Metrics.readAt(asked)
		if f.stale {
			f.options.Logger.Info("the events of access are current again")
		}
		f.stale = false
	}
	behind := f.options.Now().Sub(f.current)
	if f.serving != nil && !f.stale && behind > staleAfter && ctx.Err() == nil {
		f.stale = true
		f.options.Logger.Error("the events of access cannot be read; logins go on by what was read before", "error", err,
			"until", f.current.Add(f.options.Grace).UTC().Format(time.RFC3339))
	}
	f.mu.Unlock()
	for _, subject := range revoked {
		f.options.Revoked(subject)
	}
}

// Allowed fails with a *refusal.Error where the access of a subject is revoked, or
// where that is not known.
func (f *Follower) Allowed(subject string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	a, ok := f.serving.revoked[subject]
	if !ok {
		return nil
	}
	return refusal.New(refusal.AccessRevoked, "the access of %.80q was revoked, reason %.60q: %.200q", subject, a.Reason, a.Message)
}

// lag is how long ago the follower last knew that it had read all: what it has not read since
// is no older. It is 0 while the stream's leader says so each second. Both moments are of this
// machine, so that its clock need not be right.
func (f *Follower) lag() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	since := f.current
	if since.IsZero() {
		since = f.began
	}
	if lag := f.options.Now().Sub(since); lag > staleAfter {
		return lag
	}
	return 0
}

func (f *Follower) usable() error {
	if f.serving == nil {
		return refusal.New(refusal.AccessUnknown, "the callout has not read yet whose access is revoked")
	}
	if behind := f.options.Now().Sub(f.current); behind > f.options.Grace {
		return refusal.New(refusal.AccessUnknown, "the callout could not read for %s whose access is revoked", behind.Round(time.Second))
	}
	return nil
}

// Ready says whether the follower knows enough to let anybody in.
func (f *Follower) Ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.usable() == nil
}

// Revoked says whether the access of a subject is known to be revoked, however old
// that knowledge is.
func (f *Follower) Revoked(subject string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.serving == nil {
		return false
	}
	_, ok := f.serving.revoked[subject]
	return ok
}
