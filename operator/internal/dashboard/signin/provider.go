package signin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"fleet.nationtech.io/operator/internal/dashboard/session"
)

const (
	providerTime  = 10 * time.Second // for each answer of the provider
	providerRetry = 2 * time.Second  // between two tries to find it
	maxAnswer     = 1 << 20          // bytes of an answer
)

// provider is the OpenID provider. It is looked for when a person signs in, so that one which is
// down does not stop the operator.
type provider struct {
	config
	client *http.Client
	logger *slog.Logger
	now    func() time.Time
	flight singleflight.Group // one looks for it at a time
	keys   keys

	mu     sync.Mutex
	found  *oidc.Provider
	err    error
	failed time.Time
}

func newProvider(c config, logger *slog.Logger, now func() time.Time) *provider {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots}
	client := &http.Client{
		Transport: bounded{transport}, Timeout: providerTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a code or a secret goes nowhere else
	}
	return &provider{config: c, logger: logger, now: now, client: client, keys: keys{client: client, now: now}}
}

// bounded bounds answers.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	}
	return answer, err
}

// find gives what the provider says of itself.
func (p *provider) find(ctx context.Context) (*oidc.Provider, error) {
	if found, err := p.last(); found != nil || err != nil {
		return found, err
	}
	answer := p.flight.DoChan("find", func() (any, error) {
		if found, err := p.last(); found != nil || err != nil {
			return found, err
		}
		// Its keys are read later, too, so its context is not that of one request.
		found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.client), p.Issuer)
		if err != nil {
			err = fmt.Errorf("ask the identity provider %s what it offers: %w", p.Issuer, err)
			p.logger.Warn("nobody can sign in to the dashboard: the identity provider does not answer as it should", "error", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.found, p.err, p.failed = found, err, p.now()
		return found, err
	})
	select {
	case a := <-answer:
		found, _ := a.Val.(*oidc.Provider)
		return found, a.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// last is what is known of the provider: neither where it is to be asked.
func (p *provider) last() (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil && p.now().Sub(p.failed) < providerRetry {
		return nil, p.err
	}
	return p.found, nil
}

// scopes are those of fleetctl's login, but for the refresh token: a session ends with its token.
func (p *provider) scopes() []string {
	return []string{
		oidc.ScopeOpenID, "profile", "urn:zitadel:iam:org:project:id:" + p.Project + ":aud",
		"urn:zitadel:iam:org:projects:roles", "urn:zitadel:iam:user:resourceowner",
	}
}

func (p *provider) oauth(found *oidc.Provider) oauth2.Config {
	endpoint := found.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams // a style that is tried first and is wrong can cost the code
	if p.secret != "" {
		endpoint.AuthStyle = oauth2.AuthStyleInHeader // client_secret_basic, which each provider has (RFC 6749, section 2.3.1)
	}
	return oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.secret, Endpoint: endpoint, Scopes: p.scopes(),
		RedirectURL: p.url.Scheme + "://" + p.url.Host + callbackPath,
	}
}

// begin gives the address at the provider by which an attempt goes on. choose has the provider
// ask who signs in, though it remembers a person.
func (p *provider) begin(ctx context.Context, a attempt, choose bool) (string, error) {
	found, err := p.find(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)}
	if choose {
		options = append(options, oauth2.SetAuthURLParam("prompt", "select_account"))
	}
	c := p.oauth(found)
	return c.AuthCodeURL(a.State, options...), nil
}

// iss says whether the issuer that came with an answer is the provider (RFC 9207).
func (p *provider) iss(found *oidc.Provider, iss string, given bool) bool {
	if given {
		return iss == p.Issuer
	}
	var said struct {
		Promised bool `json:"authorization_response_iss_parameter_supported"`
	}
	return found.Claims(&said) == nil && !said.Promised
}

// complete gets the tokens for a code, and says whose they are.
func (p *provider) complete(ctx context.Context, a attempt, code string) (s session.Session, err error) {
	found, err := p.find(ctx)
	if err != nil {
		return s, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	c := p.oauth(found)
	began := p.now()
	token, err := c.Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) && refused.ErrorCode != "" {
			return s, verdict(fmt.Sprintf("the identity provider refuses it: %s: %s", bound(refused.ErrorCode, maxReason), bound(refused.ErrorDescription, maxReason)))
		}
		return s, fmt.Errorf("get a token: %w", short(err))
	}
	text, _ := token.Extra("id_token").(string)
	id, err := found.Verifier(&oidc.Config{ClientID: p.ClientID, Now: p.now}).Verify(ctx, text)
	switch {
	case err != nil:
		return s, fmt.Errorf("check the id token: %w", short(err))
	case id.Nonce != a.Nonce:
		return s, verdict("the id token was given for another sign-in (its nonce differs)")
	case id.AccessTokenHash != "":
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return s, fmt.Errorf("check the access token: %w", short(err))
		}
	}
	s = session.Session{Token: token.AccessToken, Subject: id.Subject, Expires: began.Add(session.MaxLife)}
	if !token.Expiry.IsZero() && token.Expiry.Before(s.Expires) {
		s.Expires = token.Expiry
	}
	s.Name = p.nameOf(ctx, found, id, token)
	return s, nil
}

// nameOf is a readable name. Without an answer of the provider it is the subject.
func (p *provider) nameOf(ctx context.Context, found *oidc.Provider, id *oidc.IDToken, token *oauth2.Token) string {
	var who struct {
		Name     string `json:"name"`
		Username string `json:"preferred_username"`
	}
	if err := id.Claims(&who); err != nil || who.Name == "" && who.Username == "" {
		info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err == nil && info.Subject == id.Subject {
			_ = info.Claims(&who) // who has no name is shown by the subject
		}
	}
	for _, name := range []string{who.Name, who.Username} {
		if name != "" {
			return bound(name, maxName)
		}
	}
	return id.Subject
}

// verdict is why the provider, or its answer, denies a sign-in, for the person to read. Other
// errors are for the operator's log alone.
type verdict string

// Error implements error.
func (v verdict) Error() string { return string(v) }

// short is an error that shows nothing of what was sent, and is not long.
func short(err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return fmt.Errorf("the identity provider answers %s", refused.Response.Status)
	}
	return errors.New(bound(err.Error(), 2*maxReason))
}
