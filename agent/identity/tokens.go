package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
)

const (
	keyLook       = 2 * time.Second // between two looks whether the key file changed, without a token
	keyEndsSoon   = 30 * 24 * time.Hour
	refusedLine   = 10 * time.Minute // between two lines that say why one token is refused
	keyLine       = 24 * time.Hour   // between two lines that the key ends soon
	maxTokenLease = 100 * 365 * 24 * time.Hour
)

// issuer gives tokens for a key.
type issuer interface {
	ByKey(ctx context.Context, k *openid.Key, scopes []string) (openid.Grant, error)
}

// Tokens keeps a device's token: it asks the provider for one with the device's
// key, and for the next one in time. The old one is shown for as long as it
// holds, also while the provider is away.
type Tokens struct {
	keyFile  string
	scopes   []string
	expected expected
	issuer   issuer
	clock    *trust.Clock
	logger   *slog.Logger
	metrics  *metrics
	now      func() time.Time // with a monotonic reading
	random   func() float64
	keyTime  func() time.Time // when the key file was written; zero: it is not there

	changed    chan struct{}
	refused    chan struct{}
	renew      chan struct{}
	keyChanged chan struct{}

	mu       sync.Mutex
	proof    Proof
	at       time.Time // when proof came
	why      error     // why there is none
	refusals int       // of proofs in a row that no server took
	told     struct {
		proof uint64
		at    time.Time
	}

	keyTold time.Time // Run alone uses it
	keyUsed string    // id of the key that was used last; Run alone uses it
}

var _ Credentials = (*Tokens)(nil)

func newTokens(c config.Config, o Options, i issuer) (*Tokens, error) {
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Tokens{
		keyFile:  c.Auth.KeyFile,
		scopes:   openid.Scopes(c.Auth.ProjectID, c.Auth.Scopes...),
		expected: expected{device: c.DeviceID, issuer: c.Auth.Issuer, projectID: c.Auth.ProjectID},
		issuer:   i, clock: o.Clock, logger: o.Logger, metrics: m, now: time.Now, random: rand.Float64,
		keyTime: func() time.Time {
			info, err := os.Stat(c.Auth.KeyFile)
			if err != nil {
				return time.Time{}
			}
			return info.ModTime()
		},
		changed: make(chan struct{}, 1), refused: make(chan struct{}, 1),
		renew: make(chan struct{}, 1), keyChanged: make(chan struct{}, 1), why: errors.New("none was asked for yet"),
	}, nil
}

// Show implements Credentials.
func (t *Tokens) Show() (Proof, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.proof.Number == 0 || !t.now().Before(t.proof.Ends) {
		return Proof{}, fmt.Errorf("%w: %w", ErrNoToken, t.why)
	}
	return t.proof, nil
}

// Changed implements Credentials.
func (t *Tokens) Changed() <-chan struct{} { return t.changed }

// Renew implements Credentials.
func (t *Tokens) Renew() { signal(t.renew) }

// KeyChanged implements Credentials.
func (t *Tokens) KeyChanged() <-chan struct{} { return t.keyChanged }

// KeyEnds implements Credentials.
func (t *Tokens) KeyEnds() time.Time {
	key, err := openid.ReadKey(t.keyFile)
	if err != nil {
		return time.Time{} // Run logs why
	}
	return key.Ends
}

// Refused implements Credentials. It says in the log what the token itself tells
// of the reason, since a server of the bus never does.
func (t *Tokens) Refused(p Proof) {
	t.metrics.refusals.Inc()
	t.mu.Lock()
	if p.Number != t.proof.Number {
		t.mu.Unlock()
		return // a newer one is there already
	}
	now := t.now()
	quiet := t.told.proof == p.Number && now.Sub(t.told.at) < refusedLine
	if !quiet {
		t.told.proof, t.told.at = p.Number, now
		t.refusals++
	}
	t.mu.Unlock()
	signal(t.refused)
	if quiet {
		return
	}
	why := t.expected.whyRefused(p.Token, t.clock.Now())
	if len(why) == 0 {
		t.logger.Warn("NATS refuses this device, and its token looks right: the callout records its reason in the event log: fleetctl device why ID", "device", t.expected.device)
	}
	for _, w := range why {
		t.logger.Warn("NATS refuses this device", "why", w)
	}
}

// Accepted implements Credentials.
func (t *Tokens) Accepted(p Proof) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.Number == t.proof.Number {
		t.refusals = 0
	}
}

// Run implements Credentials.
func (t *Tokens) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var due time.Time // when to ask next; the zero time is now
	var last attempt
	var seen time.Time // the key file that was used last
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.refused:
			if last.outcome == outcomeGranted {
				t.mu.Lock()
				sooner := t.at.Add(refusedWait(last.keyAge, t.refusals, t.random()))
				t.mu.Unlock()
				if sooner.Before(due) {
					due = sooner
				}
			}
		case <-t.renew:
			due = time.Time{}
		case <-timer.C:
		}
		// A new key is used at once, however long the old one would have to wait.
		if now := t.now(); now.Before(due) && (last.outcome == outcomeGranted || t.keyTime().Equal(seen)) {
			wait := due.Sub(now)
			if last.outcome != outcomeGranted {
				wait = min(wait, keyLook)
			}
			timer.Reset(wait)
			continue
		}
		failures := last.failures
		last = t.ask(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if seen = t.keyTime(); last.outcome != outcomeGranted {
			last.failures = failures + 1
		}
		due = t.now().Add(last.wait(t.random()))
		timer.Reset(0)
	}
}

// ask asks for a token once.
func (t *Tokens) ask(ctx context.Context) attempt {
	key, err := openid.ReadKey(t.keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: enrol this device", err)
	}
	if err != nil {
		a := attempt{outcome: outcomeNoKey}
		t.failed(a, err)
		return a
	}
	t.judge(key)
	if key.ID != t.keyUsed {
		t.keyUsed = key.ID
		signal(t.keyChanged)
	}
	asked := t.now()
	g, err := t.issuer.ByKey(ctx, key, t.scopes)
	if ctx.Err() != nil {
		return attempt{}
	}
	a := attempt{outcome: classify(err), keyAge: t.now().Sub(key.Written)}
	if err != nil {
		var no *openid.Refusal
		if errors.As(err, &no) {
			a.retryAfter = min(no.RetryAfter, maxRefusal)
		}
		t.failed(a, ended(key, t.clock.Now(), err))
		return a
	}
	a.life = min(g.Life, maxTokenLease)
	t.metrics.requests.WithLabelValues(string(outcomeGranted)).Inc()
	t.mu.Lock()
	// The life counts from before the request was sent, so that it does not end at
	// the server before it ends here.
	t.proof = Proof{Token: g.Token, Number: t.proof.Number + 1, Ends: asked.Add(a.life)}
	t.at, t.why = t.now(), errors.New("the last one ended")
	proof := t.proof
	t.mu.Unlock()
	t.metrics.ends.Set(float64(t.clock.Now().Add(a.life).Unix()))
	t.logger.Debug("the device has a new token", "number", proof.Number, "life", a.life)
	if _, ok := openid.ReadClaims(g.Token); !ok {
		t.logger.Warn("the provider gave a token that NATS will refuse", "why", t.expected.whyRefused(g.Token, t.clock.Now())[0])
	}
	signal(t.changed)
	return a
}

func (t *Tokens) failed(a attempt, err error) {
	t.metrics.requests.WithLabelValues(string(a.outcome)).Inc()
	t.mu.Lock()
	t.why = err
	ends := t.proof.Ends
	t.mu.Unlock()
	attrs := []any{"outcome", string(a.outcome), "error", err}
	if !ends.IsZero() {
		attrs = append(attrs, "token_left", ends.Sub(t.now()).Round(time.Second))
	}
	if a.outcome == outcomeInvalidGrant && !fresh(a.keyAge) {
		t.logger.Error("the provider refuses this device's key: it may be removed or ended, or its machine user locked, deactivated or deleted", attrs...)
		return
	}
	t.logger.Warn("the device gets no token", attrs...)
}

// ended says of a refusal that the key has ended, where it has.
func ended(k *openid.Key, now time.Time, err error) error {
	if classify(err) != outcomeInvalidGrant || k.Ends.IsZero() || now.Before(k.Ends) {
		return err
	}
	return fmt.Errorf("the device's key %s ended at %s: enrol this device again: %w",
		k.ID, k.Ends.UTC().Format(time.RFC3339), err)
}

// judge says when the key ends soon.
func (t *Tokens) judge(k *openid.Key) {
	t.metrics.keyEnds.Set(0)
	if !k.Ends.IsZero() {
		t.metrics.keyEnds.Set(float64(k.Ends.Unix()))
	}
	if k.Ends.IsZero() || k.Ends.Sub(t.clock.Now()) > keyEndsSoon || t.now().Sub(t.keyTold) < keyLine {
		return
	}
	t.keyTold = t.now()
	t.logger.Warn("the device's key ends soon: give the device a new one before, by fleetctl enroll rotate ID", "key", k.ID, "ends", k.Ends)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting
	}
}
