package token

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fleet.nationtech.io/callout/claims"
	"fleet.nationtech.io/callout/refusal"
)

const (
	// activeFor is how long an active token is not asked about again: a user that
	// the provider deactivated may still connect for so long.
	activeFor = 30 * time.Second
	// inactiveFor is how long an inactive one is not asked about again: just after
	// it was made, a good token can be inactive.
	inactiveFor = 5 * time.Second
	// maxCached bounds the answers that are kept.
	maxCached = 10_000
)

// IntrospectorOptions wire an Introspector.
type IntrospectorOptions struct {
	Provider    *Provider
	Credentials Credentials
	Now         func() time.Time
}

// Introspector asks the provider about opaque tokens (RFC 7662) and keeps the
// answers for a short time.
type Introspector struct {
	options IntrospectorOptions

	mu     sync.Mutex
	cached map[[sha256.Size]byte]answer
}

// answer is what the provider said of one token.
type answer struct {
	until  time.Time
	active bool
	claims jwt.MapClaims
}

// NewIntrospector wires an Introspector.
func NewIntrospector(o IntrospectorOptions) *Introspector {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Introspector{options: o, cached: map[[sha256.Size]byte]answer{}}
}

// introspected judges an opaque token by the answer that is kept for it.
func (v *Verifier) introspected(token string) (claims.Claims, error) {
	a, ok := v.options.Introspector.kept(token)
	if !ok {
		return claims.Claims{}, ErrNeedsProvider
	}
	return v.answered(a)
}

// answered judges an opaque token by what the provider said of it.
func (v *Verifier) answered(a answer) (claims.Claims, error) {
	if !a.active {
		return claims.Claims{}, refusal.New(refusal.Inactive,
			"the provider says that the token is not active for the callout's project: it is unknown, expired or revoked, its user is deactivated, or its audience is another project")
	}
	return v.judge(a.claims, "")
}

func (i *Introspector) kept(token string) (answer, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	a, ok := i.cached[sha256.Sum256([]byte(token))]
	return a, ok && i.options.Now().Before(a.until)
}

func (i *Introspector) keep(token string, a answer) answer {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.cached) >= maxCached {
		now := i.options.Now()
		for k, old := range i.cached {
			if !now.Before(old.until) {
				delete(i.cached, k)
			}
		}
	}
	if len(i.cached) < maxCached { // else it is asked about again
		i.cached[sha256.Sum256([]byte(token))] = a
	}
	return a
}

// ask asks the provider about a token and keeps the answer. It fails with a
// *refusal.Error.
func (i *Introspector) ask(ctx context.Context, token string) (a answer, err error) {
	defer func() { i.options.Provider.options.Metrics.asked("introspection", err) }()
	status, body, err := i.post(ctx, token)
	switch {
	case err != nil:
		return a, refusal.New(refusal.ProviderUnavailable, "the provider does not answer about the opaque token: %v", err)
	case status == http.StatusBadRequest || status == http.StatusUnauthorized:
		return a, refusal.New(refusal.ProviderRefusesUs, "the provider refuses the callout's own credentials for introspection with status %d: check the key file and the clock", status)
	case status != http.StatusOK:
		return a, refusal.New(refusal.ProviderUnavailable, "the provider answers about the opaque token with status %d", status)
	}
	var said jwt.MapClaims
	if err := json.Unmarshal(body, &said); err != nil {
		return a, refusal.New(refusal.ProviderUnavailable, "the provider's answer about the opaque token is no JSON object")
	}
	now := i.options.Now()
	if active, _ := said["active"].(bool); !active {
		return i.keep(token, answer{until: now.Add(inactiveFor)}), nil
	}
	// Its exp is judged at every use.
	return i.keep(token, answer{until: now.Add(activeFor), active: true, claims: said}), nil
}

func (i *Introspector) post(ctx context.Context, token string) (status int, body []byte, err error) {
	p := i.options.Provider
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	at, err := p.endpoint(ctx, p.options.IntrospectionURL, func(e endpoints) string { return e.Introspection })
	if err != nil {
		return 0, nil, err
	}
	form := url.Values{"token": {token}}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if err := i.options.Credentials.authenticate(p.options.Issuer, i.options.Now(), form, header); err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	r.Header = header
	a, err := p.do(r)
	if err != nil {
		p.forget()
	}
	return a.status, a.body, err
}

// Credentials by which the callout shows the provider who asks.
type Credentials interface {
	authenticate(issuer string, now time.Time, form url.Values, header http.Header) error
}

// Secret is a client id with its secret (RFC 6749, section 2.3.1).
type Secret struct{ ClientID, ClientSecret string }

func (s Secret) authenticate(_ string, _ time.Time, _ url.Values, header http.Header) error {
	r := http.Request{Header: header}
	r.SetBasicAuth(url.QueryEscape(s.ClientID), url.QueryEscape(s.ClientSecret))
	return nil
}

// ApplicationKey is the key file of an API application, as Zitadel exports it once.
type ApplicationKey struct {
	clientID, keyID string
	key             any
	expires         time.Time
}

// ReadApplicationKey reads a key file.
func ReadApplicationKey(file []byte) (*ApplicationKey, error) {
	var f struct {
		Type           string    `json:"type"`
		KeyID          string    `json:"keyId"`
		Key            string    `json:"key"`
		ClientID       string    `json:"clientId"`
		ExpirationDate time.Time `json:"expirationDate"`
	}
	if err := json.Unmarshal(file, &f); err != nil {
		return nil, fmt.Errorf("the key file is not what Zitadel exports: %w", err)
	}
	if f.Type != "application" {
		return nil, fmt.Errorf("the key file is of type %q, introspection needs the key of an API application: make one in the project", f.Type)
	}
	if f.KeyID == "" || f.ClientID == "" {
		return nil, errors.New("the key file has no keyId or no clientId")
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(f.Key))
	if err != nil {
		return nil, fmt.Errorf("the key file's key is no RSA private key in PEM: %w", err)
	}
	return &ApplicationKey{clientID: f.ClientID, keyID: f.KeyID, key: key, expires: f.ExpirationDate}, nil
}

// Expires is when the provider stops accepting the key; zero where the file does
// not say.
func (k *ApplicationKey) Expires() time.Time { return k.expires }

// authenticate signs an assertion (RFC 7523). Zitadel refuses one whose iat is more
// than a second ahead of its clock, or an hour behind.
func (k *ApplicationKey) authenticate(issuer string, now time.Time, form url.Values, _ http.Header) error {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": k.clientID, "sub": k.clientID, "aud": issuer,
		"iat": now.Add(-10 * time.Second).Unix(), "exp": now.Add(time.Minute).Unix(),
	})
	t.Header["kid"] = k.keyID
	assertion, err := t.SignedString(k.key)
	if err != nil {
		return fmt.Errorf("sign the assertion: %w", err)
	}
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return nil
}
