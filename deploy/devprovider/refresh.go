package devprovider

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// refresh is a refresh token that holds. Each is good for one use: the answer brings
// the next one.
type refresh struct {
	subject, client     string
	audience, scopes    []string
	authenticated, ends time.Time
	current             []string // scopes that this use asks for
}

var _ op.RefreshTokenRequest = (*refresh)(nil)

// GetAMR implements op.RefreshTokenRequest.
func (r *refresh) GetAMR() []string { return []string{"dev"} }

// GetAudience implements op.RefreshTokenRequest.
func (r *refresh) GetAudience() []string { return r.audience }

// GetAuthTime implements op.RefreshTokenRequest.
func (r *refresh) GetAuthTime() time.Time { return r.authenticated }

// GetClientID implements op.RefreshTokenRequest.
func (r *refresh) GetClientID() string { return r.client }

// GetScopes implements op.RefreshTokenRequest.
func (r *refresh) GetScopes() []string {
	if r.current != nil {
		return r.current
	}
	return r.scopes
}

// GetSubject implements op.RefreshTokenRequest.
func (r *refresh) GetSubject() string { return r.subject }

// SetCurrentScopes implements op.RefreshTokenRequest.
func (r *refresh) SetCurrentScopes(scopes []string) { r.current = scopes }

// TokenRequestByRefreshToken implements op.AuthStorage.
func (s *storage) TokenRequestByRefreshToken(_ context.Context, text string) (op.RefreshTokenRequest, error) {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.refreshes[text]
	if r == nil || !time.Now().Before(r.ends) {
		return nil, fmt.Errorf("refresh token: %w", ErrNotFound)
	}
	if _, ok := d.active(r.subject); !ok {
		return nil, fmt.Errorf("user %s is not active: %w", r.subject, ErrNotFound)
	}
	use := *r
	return &use, nil
}

// CreateAccessAndRefreshTokens implements op.AuthStorage: for the device flow with
// offline_access, and for each use of a refresh token, which ends by it.
func (s *storage) CreateAccessAndRefreshTokens(_ context.Context, r op.TokenRequest, used string) (tokenID, next string, ends time.Time, err error) {
	now := time.Now().Truncate(time.Second)
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &refresh{
		subject: r.GetSubject(), audience: slices.Clone(r.GetAudience()), scopes: slices.Clone(r.GetScopes()),
		authenticated: now, ends: now.Add(s.options.RefreshLifetime),
	}
	if c, ok := r.(interface{ GetClientID() string }); ok {
		n.client = c.GetClientID()
	}
	if used != "" {
		was := d.refreshes[used]
		if was == nil { // another use came first
			return "", "", time.Time{}, fmt.Errorf("refresh token: %w", ErrNotFound)
		}
		n.scopes, n.authenticated, n.ends = was.scopes, was.authenticated, was.ends
		delete(d.refreshes, used)
	}
	t := &token{
		id: d.id(), subject: n.subject, client: n.client, audience: n.audience, scopes: slices.Clone(r.GetScopes()),
		issued: now, ends: now.Add(s.options.TokenLifetime),
	}
	next = rand.Text()
	d.tokens[t.id], d.refreshes[next] = t, n
	return t.id, next, t.ends, nil
}

// GetRefreshTokenInfo implements op.AuthStorage. A refresh token is its own id.
func (s *storage) GetRefreshTokenInfo(_ context.Context, clientID, text string) (userID, tokenID string, err error) {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	r := s.directory.refreshes[text]
	if r == nil || r.client != clientID {
		return "", "", op.ErrInvalidRefreshToken
	}
	return r.subject, text, nil
}

// EndLogins takes all refresh tokens from a user, as its deactivation or an
// administrator does. Access tokens hold until they end.
func (p *Provider) EndLogins(userID string) {
	d := p.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	for text, r := range d.refreshes {
		if r.subject == userID {
			delete(d.refreshes, text)
		}
	}
}

// RefreshTokens counts the refresh tokens of a user that hold.
func (p *Provider) RefreshTokens(userID string) int {
	d := p.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, r := range d.refreshes {
		if r.subject == userID && time.Now().Before(r.ends) {
			n++
		}
	}
	return n
}

// tokenIDOf cuts the prefix that jti has.
func tokenIDOf(text string) string { return text[strings.LastIndex(text, "_")+1:] }

// ForgetTokens takes all access tokens from the management API and introspection, as
// a provider does that was restored from a backup. A JWT holds elsewhere until it ends.
func (p *Provider) ForgetTokens() {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	clear(p.directory.tokens)
}
