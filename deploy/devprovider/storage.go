package devprovider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// errKey says that a key is unknown, removed, ended, not seen yet or another's.
var errKey = errors.New("the key is unknown")

// errNotOffered says that a flow is not imitated.
var errNotOffered = errors.New("the development provider does not offer this flow")

// token is an access token that was given.
type token struct {
	id, subject, client string
	audience, scopes    []string
	issued, ends        time.Time
}

// storage is the directory as the library wants it.
type storage struct{ *Provider }

var (
	_ op.Storage                        = (*storage)(nil)
	_ op.DeviceAuthorizationStorage     = (*storage)(nil)
	_ op.CanGetPrivateClaimsFromRequest = (*storage)(nil)
)

// CreateAccessToken implements op.AuthStorage, for persons.
func (s *storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	now := time.Now().Truncate(time.Second)
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &token{
		id: d.id(), subject: r.GetSubject(), audience: r.GetAudience(), scopes: r.GetScopes(),
		issued: now, ends: now.Add(s.options.TokenLifetime),
	}
	if c, ok := r.(interface{ GetClientID() string }); ok {
		t.client = c.GetClientID()
	}
	d.tokens[t.id] = t
	return t.id, t.ends, nil
}

// GetPrivateClaimsFromRequest implements op.CanGetPrivateClaimsFromRequest: the
// claims of a person's JWT.
func (s *storage) GetPrivateClaimsFromRequest(_ context.Context, r op.TokenRequest, _ []string) (map[string]any, error) {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	u, ok := d.active(r.GetSubject())
	if !ok {
		return nil, oidc.ErrInvalidGrant().WithDescription("the user is unknown, or it is not active")
	}
	current := ""
	if c, ok := r.(interface{ GetClientID() string }); ok {
		current = d.applications[c.GetClientID()].Project
	}
	return d.claims(u, r.GetScopes(), r.GetAudience(), current), nil
}

// SetIntrospectionFromToken implements op.OPStorage. It fails, so that the token
// is inactive, where the client's project is not in the audience.
func (s *storage) SetIntrospectionFromToken(_ context.Context, r *oidc.IntrospectionResponse, tokenID, subject, clientID string) error {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	t, app := d.tokens[tokenIDOf(tokenID)], d.applications[clientID]
	if t == nil || t.subject != subject || !time.Now().Before(t.ends) {
		return fmt.Errorf("token: %w", ErrNotFound)
	}
	u, ok := d.active(subject)
	if !ok || !slices.Contains(t.audience, clientID) && !slices.Contains(t.audience, app.Project) {
		return errors.New("the token is not for this client")
	}
	r.Scope, r.ClientID, r.TokenType = t.scopes, t.client, oidc.BearerToken
	r.Expiration, r.IssuedAt, r.NotBefore, r.AuthTime = oidc.FromTime(t.ends), oidc.FromTime(t.issued), oidc.FromTime(t.issued), oidc.FromTime(t.issued)
	r.Subject, r.Audience, r.Issuer, r.JWTID = subject, t.audience, s.issuer, "V2_1-at_"+t.id
	r.Username, r.PreferredUsername, r.Name = u.Username, u.Username, u.Name
	r.Claims = d.claims(u, t.scopes, t.audience, app.Project)
	return nil
}

// RevokeToken implements op.AuthStorage, for access tokens and refresh tokens.
func (s *storage) RevokeToken(_ context.Context, tokenID, _, _ string) *oidc.Error {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	delete(s.directory.refreshes, tokenID)
	delete(s.directory.tokens, tokenIDOf(tokenID))
	return nil
}

// GetKeyByIDAndClientID implements op.OPStorage, for users and for applications.
func (s *storage) GetKeyByIDAndClientID(_ context.Context, keyID, owner string) (*jose.JSONWebKey, error) {
	k, ok := s.directory.key(keyID, owner)
	if !ok {
		return nil, fmt.Errorf("key %.80q of %.80q: %w", keyID, owner, errKey)
	}
	return &jose.JSONWebKey{KeyID: keyID, Key: k, Algorithm: string(jose.RS256), Use: "sig"}, nil
}

// AuthorizeClientIDSecret implements op.OPStorage.
func (s *storage) AuthorizeClientIDSecret(_ context.Context, clientID, secret string) error {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	if a, ok := s.directory.applications[clientID]; !ok || a.Secret == "" || a.Secret != secret {
		return errors.New("the client is unknown, or its secret is wrong")
	}
	return nil
}

// GetClientByClientID implements op.OPStorage.
func (s *storage) GetClientByClientID(_ context.Context, clientID string) (op.Client, error) {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	a, ok := s.directory.applications[clientID]
	if !ok {
		return nil, oidc.ErrInvalidClient().WithDescription("the client is unknown")
	}
	return client{a, s.options.TokenLifetime}, nil
}

// SetUserinfoFromScopes implements op.OPStorage, for id tokens.
func (s *storage) SetUserinfoFromScopes(_ context.Context, info *oidc.UserInfo, userID, _ string, scopes []string) error {
	return s.userinfo(info, userID, scopes)
}

// SetUserinfoFromToken implements op.OPStorage.
func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, tokenID, subject, _ string) error {
	s.directory.mu.Lock()
	t := s.directory.tokens[tokenIDOf(tokenID)]
	s.directory.mu.Unlock()
	if t == nil || !time.Now().Before(t.ends) {
		return fmt.Errorf("token: %w", ErrNotFound)
	}
	return s.userinfo(info, subject, t.scopes)
}

func (s *storage) userinfo(info *oidc.UserInfo, id string, scopes []string) error {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	u, ok := d.active(id)
	if !ok {
		return fmt.Errorf("user %s: %w", id, ErrNotFound)
	}
	info.Subject = id
	if slices.Contains(scopes, oidc.ScopeProfile) {
		info.Name, info.PreferredUsername = u.Name, u.Username
	}
	info.Claims = maps.Clone(d.claims(u, scopes, audience(scopes), ""))
	return nil
}

// ValidateJWTProfileScopes implements op.OPStorage.
func (s *storage) ValidateJWTProfileScopes(_ context.Context, _ string, scopes []string) ([]string, error) {
	return knownScopes(scopes), nil
}

// GetPrivateClaimsFromScopes implements op.OPStorage; the library asks
// GetPrivateClaimsFromRequest in its place.
func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, errNotOffered
}

// SigningKey implements op.AuthStorage.
func (s *storage) SigningKey(context.Context) (op.SigningKey, error) { return s.keys.current(), nil }

// SignatureAlgorithms implements op.AuthStorage.
func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.keys.current().algorithm}, nil
}

// KeySet implements op.AuthStorage.
func (s *storage) KeySet(context.Context) ([]op.Key, error) { return s.keys.published(), nil }

// Health implements op.Storage.
func (s *storage) Health(context.Context) error { return nil }

// TerminateSession implements op.AuthStorage.
func (s *storage) TerminateSession(context.Context, string, string) error { return nil }
