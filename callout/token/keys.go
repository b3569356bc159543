package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

// Defaults of KeysOptions.
const (
	DefaultRefresh     = 5 * time.Minute
	DefaultMinInterval = 10 * time.Second
	DefaultMaxAge      = 24 * time.Hour

	maxRefresh = 15 * time.Minute
)

// Source reads the keys that a provider publishes, and for how long they may be
// kept; 0 where the provider does not say.
type Source interface {
	Keys(ctx context.Context) (body []byte, maxAge time.Duration, err error)
}

// KeysOptions wire Keys. Zero values mean the defaults.
type KeysOptions struct {
	Source     Source
	Algorithms []string
	// Refresh is how often the keys are read again where the provider names no
	// max-age.
	Refresh time.Duration
	// MinInterval is the least time from one read to the next: unknown kids must not
	// become load on the provider.
	MinInterval time.Duration
	// MaxAge is how long keys are used after they were last read.
	MaxAge  time.Duration
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *Metrics
}

// Keys holds the provider's keys. Reading a key never waits for the provider: Run
// asks it, one request at a time.
type Keys struct {
	options KeysOptions
	wanted  chan struct{}

	mu      sync.Mutex
	current *keyset
	began   time.Time     // when the last read began
	failed  error         // of the last read
	reading chan struct{} // closed when the read that is wanted or under way ends
}

var _ jwkset.Storage = (*Keys)(nil)

// NewKeys wires Keys. They are empty until Run has read them.
func NewKeys(o KeysOptions) *Keys {
	if o.Refresh == 0 {
		o.Refresh = DefaultRefresh
	}
	if o.MinInterval == 0 {
		o.MinInterval = DefaultMinInterval
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
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
	return &Keys{options: o, wanted: make(chan struct{}, 1)}
}

// Run reads the keys at once, then regularly and where Refresh wants it, until the
// context ends.
func (k *Keys) Run(ctx context.Context) error {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		case <-k.wanted:
		}
		next.Reset(k.read(ctx))
	}
}

// read reads the keys once and says when to read them next.
func (k *Keys) read(ctx context.Context) time.Duration {
	k.mu.Lock()
	k.began = k.options.Now()
	if k.reading == nil {
		k.reading = make(chan struct{})
	}
	select {
	case <-k.wanted: // this read is the one that is wanted
	default:
	}
	k.mu.Unlock()

	body, maxAge, err := k.options.Source.Keys(ctx)
	var s *keyset
	if err == nil {
		s, err = parseKeys(body, k.options.Algorithms, k.options.Now())
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.failed
	k.failed = err
	close(k.reading)
	k.reading = nil
	if err != nil {
		if ctx.Err() == nil {
			k.options.Logger.Warn("the provider's keys could not be read; the keys that are known stay in use", "error", err, "age", k.age().String())
		}
		return k.options.MinInterval
	}
	if before != nil || k.current == nil {
		k.options.Logger.Info("the provider's keys were read", "keys", len(s.all))
	}
	k.current = s
	k.options.Metrics.keys(len(s.all), s.read)
	if maxAge == 0 {
		maxAge = k.options.Refresh
	}
	return min(max(maxAge, k.options.MinInterval), maxRefresh)
}

var (
	// errKeyUnknown: no key has that kid.
	errKeyUnknown = fmt.Errorf("%w: the provider does not publish it", jwkset.ErrKeyNotFound)
	// errKeysTooOld: the keys were read too long ago, or never.
	errKeysTooOld = errors.New("the provider's keys were read too long ago, or never")
)

// Refresh has Run read the keys, unless they were read a moment ago, and waits for
// the end of that read. Many who wait share one request to the provider. It fails
// with the read's error or the context's.
func (k *Keys) Refresh(ctx context.Context) error {
	k.mu.Lock()
	if k.reading == nil {
		if k.options.Now().Sub(k.began) < k.options.MinInterval {
			defer k.mu.Unlock()
			return k.failed
		}
		k.reading = make(chan struct{})
		select {
		case k.wanted <- struct{}{}:
		default: // Run has been told
		}
	}
	ended := k.reading
	k.mu.Unlock()
	select {
	case <-ctx.Done():
		return fmt.Errorf("keys of the provider: %w", ctx.Err())
	case <-ended:
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed
}

// refreshable says whether Refresh would bring news.
func (k *Keys) refreshable() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reading != nil || k.options.Now().Sub(k.began) >= k.options.MinInterval
}

// lastError is the error of the last read.
func (k *Keys) lastError() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed
}

// Ready says whether there are keys that may be used.
func (k *Keys) Ready() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current != nil && k.age() <= k.options.MaxAge
}

// Age is how long ago the keys were read; 0 where they never were.
func (k *Keys) Age() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.age()
}

func (k *Keys) age() time.Duration {
	if k.current == nil {
		return 0
	}
	return k.options.Now().Sub(k.current.read)
}

func (k *Keys) inUse() (*keyset, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil || k.age() > k.options.MaxAge {
		return nil, errKeysTooOld
	}
	return k.current, nil
}

// KeyRead gives the key of an id out of what was read last.
func (k *Keys) KeyRead(_ context.Context, id string) (jwkset.JWK, error) {
	s, err := k.inUse()
	if err != nil {
		return jwkset.JWK{}, err
	}
	key, ok := s.byID[id]
	if !ok {
		return jwkset.JWK{}, errKeyUnknown
	}
	return key, nil
}

// KeyReadAll gives no key: a token names its key, or it is refused.
func (k *Keys) KeyReadAll(context.Context) ([]jwkset.JWK, error) { return nil, errKeyUnknown }

// errReadOnly: the rest of jwkset.Storage. The provider alone changes its keys, and
// nobody asks the callout for them.
var errReadOnly = errors.New("the provider's keys can be read one by one only")

// KeyDelete fails.
func (k *Keys) KeyDelete(context.Context, string) (bool, error) { return false, errReadOnly }

// KeyReplaceAll fails.
func (k *Keys) KeyReplaceAll(context.Context, []jwkset.JWK) error { return errReadOnly }

// KeyWrite fails.
func (k *Keys) KeyWrite(context.Context, jwkset.JWK) error { return errReadOnly }

// JSON fails.
func (k *Keys) JSON(context.Context) (json.RawMessage, error) { return nil, errReadOnly }

// JSONPublic fails.
func (k *Keys) JSONPublic(context.Context) (json.RawMessage, error) { return nil, errReadOnly }

// JSONPrivate fails.
func (k *Keys) JSONPrivate(context.Context) (json.RawMessage, error) { return nil, errReadOnly }

// JSONWithOptions fails.
func (k *Keys) JSONWithOptions(context.Context, jwkset.JWKMarshalOptions, jwkset.JWKValidateOptions) (json.RawMessage, error) {
	return nil, errReadOnly
}

// Marshal fails.
func (k *Keys) Marshal(context.Context) (jwkset.JWKSMarshal, error) {
	return jwkset.JWKSMarshal{}, errReadOnly
}

// MarshalWithOptions fails.
func (k *Keys) MarshalWithOptions(context.Context, jwkset.JWKMarshalOptions, jwkset.JWKValidateOptions) (jwkset.JWKSMarshal, error) {
	return jwkset.JWKSMarshal{}, errReadOnly
}
