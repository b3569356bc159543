package identity

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

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/trust"
)

const (
	discoveryPath   = "/.well-known/openid-configuration"
	grantJWTBearer  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	providerTimeout = 10 * time.Second
	maxAnswer       = 64 << 10
)

// Scopes that every device asks for: who it is, that the token is for our
// project, which roles it has there, and whose it is.
func scopes(a config.Auth) []string {
	return append([]string{
		"openid",
		"urn:zitadel:iam:org:project:id:" + a.ProjectID + ":aud",
		"urn:zitadel:iam:org:projects:roles",
		"urn:zitadel:iam:user:resourceowner",
	}, a.Scopes...)
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

// granted is a token and how long it holds.
type granted struct {
	token string
	life  time.Duration
}

// provider asks one OpenID provider for tokens. It is for one goroutine.
type provider struct {
	auth    config.Auth
	clock   *trust.Clock
	servers *trust.Servers
	client  *http.Client
	token   string // the endpoint, once it is known
}

func newProvider(a config.Auth, clock *trust.Clock, servers *trust.Servers) *provider {
	return &provider{auth: a, clock: clock, servers: servers, client: &http.Client{
		Timeout: providerTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: servers.TLS(), ForceAttemptHTTP2: true,
			MaxIdleConns: 1, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: providerTimeout,
		},
		// What we send proves who we are; it goes nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Token asks for a token. Where the answer shows that the device's clock was
// wrong, it asks once more by the right time.
func (p *provider) Token(ctx context.Context, k *Key) (granted, error) {
	g, corrected, err := p.ask(ctx, k)
	if err == nil || ctx.Err() != nil || !corrected && !p.servers.Learn(err) {
		return g, err
	}
	g, _, err = p.ask(ctx, k)
	return g, err
}

func (p *provider) ask(ctx context.Context, k *Key) (g granted, corrected bool, err error) {
	if p.token == "" {
		if err := p.discover(ctx); err != nil {
			return granted{}, false, err
		}
	}
	signed, err := k.assertion(p.auth.Issuer, p.clock.Now())
	if err != nil {
		return granted{}, false, err
	}
	form := url.Values{"grant_type": {grantJWTBearer}, "assertion": {signed}, "scope": {strings.Join(scopes(p.auth), " ")}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.token, strings.NewReader(form.Encode()))
	if err != nil {
		return granted{}, false, fmt.Errorf("ask for a token: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token     string `json:"access_token"`
		Type      string `json:"token_type"`
		ExpiresIn int64  `json:"expires_in"`
	}
	corrected, err = p.do(r, &answer)
	var no *Refusal
	switch {
	case errors.As(err, &no) && no.Status == http.StatusNotFound:
		p.token = "" // it may have moved
		fallthrough
	case err != nil:
		return granted{}, corrected, fmt.Errorf("ask for a token: %w", err)
	case answer.Token == "" || answer.ExpiresIn <= 0 || !strings.EqualFold(answer.Type, "Bearer"):
		return granted{}, false, errors.New("ask for a token: the provider's answer holds no bearer token with an end")
	}
	return granted{token: answer.Token, life: time.Duration(answer.ExpiresIn) * time.Second}, false, nil
}

func (p *provider) discover(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.auth.Issuer+discoveryPath, nil)
	if err != nil {
		return fmt.Errorf("discover the provider: %w", err)
	}
	var found struct {
		Issuer string `json:"issuer"`
		Token  string `json:"token_endpoint"`
	}
	if _, err := p.do(r, &found); err != nil {
		return fmt.Errorf("discover the provider: %w", err)
	}
	u, err := url.Parse(found.Token)
	switch {
	case found.Issuer != p.auth.Issuer:
		return fmt.Errorf("discover the provider: it says that its issuer is %.200q, and auth.issuer is %q: the two must be equal", found.Issuer, p.auth.Issuer)
	case err != nil || u.Host == "" || u.Scheme != "https" && strings.HasPrefix(p.auth.Issuer, "https:"):
		return fmt.Errorf("discover the provider: its token endpoint %.200q is no https URL", found.Token)
	}
	p.token = found.Token
	return nil
}

// do sends a request and reads the answer into v. It says whether the answer
// corrected the clock.
func (p *provider) do(r *http.Request, v any) (corrected bool, err error) {
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
