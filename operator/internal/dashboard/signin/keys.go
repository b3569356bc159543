package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

// keysRetry is between two reads of the provider's keys, however many tokens name unknown ones.
const keysRetry = 5 * time.Second

var (
	// errForged says that a token is not the provider's, or that its time is over.
	errForged = errors.New("the token is not a valid one of the identity provider")
	// errUnproven says that the provider does not say now whether a token is its own.
	errUnproven = errors.New("the identity provider's keys cannot be read now")
)

// keys are the provider's, by which access tokens in headers are looked at before they cost a
// login. The auth callout looks at them again.
type keys struct {
	client *http.Client
	now    func() time.Time
	flight singleflight.Group

	mu     sync.Mutex
	set    jose.JSONWebKeySet
	asked  time.Time
	failed bool // the provider did not give its keys when it was asked last
}

// algorithms are the asymmetric ones (RFC 7518, section 3.1; RFC 8037).
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
	}
}

// proven says by its errors whether a token is a valid JWT of the provider: errForged, errUnproven.
func (p *provider) proven(ctx context.Context, token string) error {
	signed, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil {
		return errForged
	}
	var claims struct {
		Issuer  string  `json:"iss"`
		Expires float64 `json:"exp"` // seconds since 1970
	}
	if json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims) != nil || claims.Issuer != p.Issuer || claims.Expires <= float64(p.now().Unix()) {
		return errForged
	}
	found, err := p.find(ctx)
	if err != nil {
		return errUnproven
	}
	id := signed.Signatures[0].Header.KeyID
	all, err := p.keys.named(ctx, found, id)
	if err != nil {
		return err
	}
	for _, key := range all {
		if _, err := signed.Verify(key); err == nil {
			return nil
		}
	}
	return errForged
}

// named gives the keys of an id, and asks the provider for keys where it knows none, but not
// again within keysRetry: until then the provider has no such key, where it gave its keys at all.
func (k *keys) named(ctx context.Context, found *oidc.Provider, id string) ([]jose.JSONWebKey, error) {
	all, due, failed := k.known(id)
	switch {
	case len(all) > 0 || !due && !failed:
		return all, nil
	case !due:
		return nil, errUnproven
	}
	answer := k.flight.DoChan("keys", func() (any, error) { return nil, k.read(context.WithoutCancel(ctx), found) })
	select {
	case a := <-answer:
		if a.Err != nil {
			return nil, fmt.Errorf("%w: %w", errUnproven, a.Err)
		}
		all, _, _ = k.known(id)
		return all, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// known gives the keys of an id as the provider gave them last. due says that it may be asked again,
// failed that it did not give them.
func (k *keys) known(id string) (all []jose.JSONWebKey, due, failed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if all = k.set.Keys; id != "" {
		all = k.set.Key(id)
	}
	return all, k.asked.IsZero() || k.now().Sub(k.asked) >= keysRetry, k.failed
}

// read asks the provider for its keys. Those that it had stay where the answer has none.
func (k *keys) read(ctx context.Context, found *oidc.Provider) (err error) {
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.asked, k.failed = k.now(), err != nil
	}()
	var said struct {
		Address string `json:"jwks_uri"`
	}
	if err := found.Claims(&said); err != nil {
		return fmt.Errorf("address of the keys: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, said.Address, nil)
	if err != nil {
		return fmt.Errorf("address of the keys: %w", err)
	}
	answer, err := k.client.Do(r)
	if err != nil {
		return fmt.Errorf("read the keys: %w", err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	text, err := io.ReadAll(answer.Body)
	var set jose.JSONWebKeySet
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	switch {
	case err != nil:
		return fmt.Errorf("read the keys: %w", err)
	case answer.StatusCode != http.StatusOK || len(set.Keys) == 0:
		return fmt.Errorf("read the keys: the provider answers %s with %d keys", answer.Status, len(set.Keys))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set = set
	return nil
}
