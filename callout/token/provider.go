// Package token decides whether a bearer token is genuine, meant for this fleet and
// in force, by the identity provider's public keys or by its introspection.
package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultTimeout bounds one request to the provider. It is longer than a login may
	// take: a slow answer still serves those who come later.
	DefaultTimeout = 3 * time.Second

	maxAnswerBytes = 256 << 10
	discoveryPath  = "/.well-known/openid-configuration"
)

// ProviderOptions say where the identity provider is.
type ProviderOptions struct {
	// Issuer is scheme://host[:port], byte by byte as tokens carry it.
	Issuer string
	// KeysURL and IntrospectionURL are taken from discovery where they are empty.
	KeysURL          string
	IntrospectionURL string
	// Client is used with the time-out below, and follows no redirect; nil means a
	// client of its own.
	Client  *http.Client
	Timeout time.Duration // of one request; 0 means DefaultTimeout
	Metrics *Metrics
}

// Provider asks the identity provider.
type Provider struct {
	options ProviderOptions
	client  *http.Client

	mu         sync.Mutex
	discovered endpoints
}

// endpoints are those of a provider's discovery document that are used here.
type endpoints struct {
	Issuer        string `json:"issuer"`
	Keys          string `json:"jwks_uri"`
	Introspection string `json:"introspection_endpoint"`
}

// NewProvider checks the options. It does not ask the provider yet.
func NewProvider(o ProviderOptions) (*Provider, error) {
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("the issuer %q must be https://host[:port], as the token's claim iss has it", o.Issuer)
	}
	if strings.HasSuffix(o.Issuer, "/") {
		return nil, fmt.Errorf("the issuer %q ends with a slash: Zitadel's issuer has none", o.Issuer)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	client := http.Client{}
	if o.Client != nil {
		client = *o.Client
	}
	client.Timeout = o.Timeout
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Provider{options: o, client: &client}, nil
}

// Keys reads the provider's published keys, and for how long they may be kept
// where the provider says so.
func (p *Provider) Keys(ctx context.Context) (body []byte, maxAge time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	defer func() { p.options.Metrics.asked("keys", err) }()
	at, err := p.endpoint(ctx, p.options.KeysURL, func(e endpoints) string { return e.Keys })
	if err != nil {
		return nil, 0, fmt.Errorf("keys of the provider: %w", err)
	}
	answer, err := p.get(ctx, at)
	if err != nil {
		p.forget()
		return nil, 0, fmt.Errorf("keys of the provider: %w", err)
	}
	return answer.body, maxAgeOf(answer.header), nil
}

// endpoint is what the options say, else what discovery says.
func (p *Provider) endpoint(ctx context.Context, configured string, of func(endpoints) string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	p.mu.Lock()
	known := of(p.discovered)
	p.mu.Unlock()
	if known != "" {
		return known, nil
	}
	e, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	if of(e) == "" {
		return "", fmt.Errorf("the provider's %s does not name the endpoint: set its URL", discoveryPath)
	}
	p.mu.Lock()
	p.discovered = e
	p.mu.Unlock()
	return of(e), nil
}

// forget has the endpoints discovered again: one of them did not answer.
func (p *Provider) forget() {
	p.mu.Lock()
	p.discovered = endpoints{}
	p.mu.Unlock()
}

func (p *Provider) discover(ctx context.Context) (endpoints, error) {
	answer, err := p.get(ctx, p.options.Issuer+discoveryPath)
	if err != nil {
		return endpoints{}, fmt.Errorf("discovery: %w", err)
	}
	var e endpoints
	if err := json.Unmarshal(answer.body, &e); err != nil {
		return endpoints{}, fmt.Errorf("discovery: the answer is not the document that OpenID Connect Discovery describes: %w", err)
	}
	if e.Issuer != p.options.Issuer {
		return endpoints{}, fmt.Errorf("discovery: the provider says that it is %q, the configured issuer is %q: both must be equal", e.Issuer, p.options.Issuer)
	}
	return e, nil
}

// response is an answer that was read.
type response struct {
	status int
	header http.Header
	body   []byte
}

func (p *Provider) get(ctx context.Context, at string) (response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return response{}, err
	}
	answer, err := p.do(r)
	if err == nil && answer.status != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d", at, answer.status)
	}
	return answer, err
}

// errAnswerTooLarge says that a provider's answer was not read to its end.
var errAnswerTooLarge = errors.New("the answer is too large")

// do sends a request and reads the answer's body, up to a bound.
func (p *Provider) do(r *http.Request) (response, error) {
	answer, err := p.client.Do(r)
	if err != nil {
		return response{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes+1))
	if err != nil {
		return response{}, fmt.Errorf("%s %s: read the answer: %w", r.Method, r.URL, err)
	}
	if len(body) > maxAnswerBytes {
		return response{}, fmt.Errorf("%s %s: %w: over %d bytes", r.Method, r.URL, errAnswerTooLarge, maxAnswerBytes)
	}
	return response{answer.StatusCode, answer.Header, body}, nil
}

// maxAgeOf is the max-age of Cache-Control (RFC 9111), or 0.
func maxAgeOf(h http.Header) time.Duration {
	for part := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		value, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "max-age=")
		if !ok {
			continue
		}
		seconds, err := strconv.Atoi(value)
		if err != nil || seconds < 0 || seconds > int((24*time.Hour).Seconds()) {
			return 0
		}
		return time.Duration(seconds) * time.Second
	}
	return 0
}
