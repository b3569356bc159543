// Package openid asks an OpenID provider for tokens, in Zitadel's dialect.
package openid

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
	"time"

	"fleet.nationtech.io/agent/trust"
)

const (
	discoveryPath   = "/.well-known/openid-configuration"
	grantJWTBearer  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	providerTimeout = 10 * time.Second
	maxAnswer       = 64 << 10
)

// Scopes are those that anyone who logs in to the fleet asks for: who it is, that the
// token is for the fleet's project, which roles it has there, and whose it is.
func Scopes(projectID string, more ...string) []string {
	return append([]string{
		"openid",
		"urn:zitadel:iam:org:project:id:" + projectID + ":aud",
		"urn:zitadel:iam:org:projects:roles",
		"urn:zitadel:iam:user:resourceowner",
	}, more...)
}

// Refusal is an answer of the provider that is no token (RFC 6749, section 5.2).
type Refusal struct {
	Status      int
	Code        string        // invalid_grant, invalid_scope, …; empty: the answer named none
	Description string        // for a person
	RetryAfter  time.Duration // 0: it did not say
}

func (r *Refusal) Error() string {
	if r.Code == "" {
		return fmt.Sprintf("the provider answers HTTP status %d", r.Status)
	}
	return fmt.Sprintf("the provider answers %s (%s), HTTP status %d", r.Code, r.Description, r.Status)
}

// Grant is a token and how long it holds.
type Grant struct {
	Token   string
	Life    time.Duration
	Refresh string // the refresh token, where the grant has one
}

// Endpoints are a provider's own, as its discovery document names them. Those that
// it does not name are empty.
type Endpoints struct {
	Token               string
	DeviceAuthorization string
	Revocation          string
	Userinfo            string
}

// Options configure a Provider. All are needed.
type Options struct {
	Issuer  string // byte for byte
	Clock   *trust.Clock
	Servers *trust.Servers
}

// Provider asks one OpenID provider for tokens. It is for one goroutine.
type Provider struct {
	issuer    string
	clock     *trust.Clock
	servers   *trust.Servers
	client    *http.Client
	endpoints Endpoints // empty until they are known
}

// New wires a Provider. It asks nobody yet.
func New(o Options) *Provider {
	return &Provider{issuer: o.Issuer, clock: o.Clock, servers: o.Servers, client: &http.Client{
		Timeout: providerTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: o.Servers.TLS(), ForceAttemptHTTP2: true,
			MaxIdleConns: 1, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: providerTimeout,
		},
		// What we send proves who we are; it goes nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ByKey asks for a token by a machine user's key (RFC 7523). Where the answer shows
// that the clock was wrong, it asks once more by the right time.
func (p *Provider) ByKey(ctx context.Context, k *Key, scopes []string) (Grant, error) {
	g, corrected, err := p.byKey(ctx, k, scopes)
	if err == nil || ctx.Err() != nil || !corrected && !p.servers.Learn(err) {
		return g, err
	}
	g, _, err = p.byKey(ctx, k, scopes)
	return g, err
}

func (p *Provider) byKey(ctx context.Context, k *Key, scopes []string) (g Grant, corrected bool, err error) {
	if _, err := p.Discover(ctx); err != nil { // first, as its answer corrects the clock
		return Grant{}, false, err
	}
	signed, err := k.Assertion(p.issuer, p.clock.Now(), nil)
	if err != nil {
		return Grant{}, false, err
	}
	return p.grant(ctx, byAssertion(signed, scopes))
}

// ByAssertion asks for a token by an assertion that the key of a machine user signed
// elsewhere: where there is one, the provider has verified it.
func (p *Provider) ByAssertion(ctx context.Context, signed string, scopes []string) (Grant, error) {
	return p.Grant(ctx, byAssertion(signed, scopes))
}

func byAssertion(signed string, scopes []string) url.Values {
	return url.Values{"grant_type": {grantJWTBearer}, "assertion": {signed}, "scope": {strings.Join(scopes, " ")}}
}

// Grant asks the token endpoint for a token by any grant.
func (p *Provider) Grant(ctx context.Context, form url.Values) (Grant, error) {
	g, _, err := p.grant(ctx, form)
	return g, err
}

func (p *Provider) grant(ctx context.Context, form url.Values) (g Grant, corrected bool, err error) {
	e, err := p.Discover(ctx)
	if err != nil {
		return Grant{}, false, err
	}
	var answer struct {
		Token     string `json:"access_token"`
		Type      string `json:"token_type"`
		ExpiresIn int64  `json:"expires_in"`
		Refresh   string `json:"refresh_token"`
	}
	corrected, err = p.post(ctx, e.Token, form, &answer)
	var no *Refusal
	switch {
	case errors.As(err, &no) && no.Status == http.StatusNotFound:
		p.endpoints = Endpoints{} // it may have moved
		fallthrough
	case err != nil:
		return Grant{}, corrected, fmt.Errorf("ask for a token: %w", err)
	case answer.Token == "" || answer.ExpiresIn <= 0 || !strings.EqualFold(answer.Type, "Bearer"):
		return Grant{}, false, errors.New("ask for a token: the provider's answer holds no bearer token with an end")
	}
	return Grant{Token: answer.Token, Life: time.Duration(answer.ExpiresIn) * time.Second, Refresh: answer.Refresh}, false, nil
}

// Discover gives the provider's endpoints. It asks once.
func (p *Provider) Discover(ctx context.Context) (Endpoints, error) {
	if p.endpoints.Token != "" {
		return p.endpoints, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.issuer+discoveryPath, nil)
	if err != nil {
		return Endpoints{}, fmt.Errorf("discover the provider: %w", err)
	}
	var found struct {
		Issuer              string `json:"issuer"`
		Token               string `json:"token_endpoint"`
		DeviceAuthorization string `json:"device_authorization_endpoint"`
		Revocation          string `json:"revocation_endpoint"`
		Userinfo            string `json:"userinfo_endpoint"`
	}
	if _, err := p.do(r, &found); err != nil {
		return Endpoints{}, fmt.Errorf("discover the provider: %w", err)
	}
	if found.Issuer != p.issuer {
		return Endpoints{}, fmt.Errorf("discover the provider: it says that its issuer is %.200q, and the configured one is %q: the two must be equal", found.Issuer, p.issuer)
	}
	e := Endpoints{found.Token, found.DeviceAuthorization, found.Revocation, found.Userinfo}
	for what, text := range map[string]string{
		"token": e.Token, "device authorization": e.DeviceAuthorization, "revocation": e.Revocation, "userinfo": e.Userinfo,
	} {
		u, err := url.Parse(text)
		if text == "" && what != "token" {
			continue
		}
		if err != nil || u.Host == "" || u.Scheme != "https" && strings.HasPrefix(p.issuer, "https:") {
			return Endpoints{}, fmt.Errorf("discover the provider: its %s endpoint %.200q is no https URL", what, text)
		}
	}
	p.endpoints = e
	return e, nil
}

// Post sends a form to one of the provider's endpoints and reads the answer into v;
// nil reads none.
func (p *Provider) Post(ctx context.Context, endpoint string, form url.Values, v any) error {
	_, err := p.post(ctx, endpoint, form, v)
	return err
}

func (p *Provider) post(ctx context.Context, endpoint string, form url.Values, v any) (corrected bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.do(r, v)
}

// Get reads one of the provider's endpoints as the bearer of a token.
func (p *Provider) Get(ctx context.Context, endpoint, token string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	_, err = p.do(r, v)
	return err
}

// do sends a request and reads the answer into v. It says whether the answer
// corrected the clock.
func (p *Provider) do(r *http.Request, v any) (corrected bool, err error) {
	res, err := p.client.Do(r)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		// The header has whole seconds, cut off.
		corrected = p.clock.Heard(date.Add(time.Second/2), res.TLS != nil)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return corrected, fmt.Errorf("read the provider's answer: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		if v == nil {
			return corrected, nil
		}
		if err := json.Unmarshal(body, v); err != nil {
			return corrected, errors.New("the provider's answer is not JSON")
		}
		return corrected, nil
	}
	no := &Refusal{Status: res.StatusCode}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		no.RetryAfter = time.Duration(seconds) * time.Second
	}
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &said) == nil {
		no.Code, no.Description = clip(said.Code), clip(said.Description)
	}
	return corrected, no
}

// clip bounds what a provider can make the log say.
func clip(s string) string { return s[:min(len(s), 300)] }
