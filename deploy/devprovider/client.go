package devprovider

import (
	"net/url"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// client is an application as the library wants it.
type client struct {
	Application
	lifetime time.Duration
}

var _ op.Client = client{}

func same(scopes []string) []string { return scopes }

// GetID implements op.Client.
func (c client) GetID() string { return c.ClientID }

// RedirectURIs implements op.Client.
func (c client) RedirectURIs() []string {
	if c.OIDC == nil {
		return nil
	}
	return c.OIDC.RedirectURIs
}

// PostLogoutRedirectURIs implements op.Client.
func (c client) PostLogoutRedirectURIs() []string {
	if c.OIDC == nil {
		return nil
	}
	return c.OIDC.PostLogoutRedirectURIs
}

// ApplicationType implements op.Client.
func (c client) ApplicationType() op.ApplicationType {
	if c.Native {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

// AuthMethod implements op.Client.
func (c client) AuthMethod() oidc.AuthMethod {
	switch {
	case c.Native, c.OIDC != nil:
		return oidc.AuthMethodNone
	case c.Secret != "":
		return oidc.AuthMethodBasic
	}
	return oidc.AuthMethodPrivateKeyJWT
}

// ResponseTypes implements op.Client.
func (c client) ResponseTypes() []oidc.ResponseType {
	if !c.hasCodes() {
		return nil
	}
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

// hasCodes says whether browsers sign in to the application.
func (c client) hasCodes() bool {
	return c.OIDC != nil && slices.Contains(c.OIDC.GrantTypes, grantsCodes)
}

// GrantTypes implements op.Client.
func (c client) GrantTypes() []oidc.GrantType {
	switch {
	case c.Native:
		return []oidc.GrantType{oidc.GrantTypeDeviceCode, oidc.GrantTypeRefreshToken}
	case c.hasCodes():
		return []oidc.GrantType{oidc.GrantTypeCode}
	}
	return nil
}

// LoginURL implements op.Client.
func (c client) LoginURL(id string) string {
	return loginPath + "?authRequestID=" + url.QueryEscape(id)
}

// AccessTokenType implements op.Client.
func (c client) AccessTokenType() op.AccessTokenType {
	if c.OIDC != nil && c.OIDC.AccessTokenType != tokenTypeJWT {
		return op.AccessTokenTypeBearer
	}
	return op.AccessTokenTypeJWT
}

// IDTokenLifetime implements op.Client.
func (c client) IDTokenLifetime() time.Duration { return c.lifetime }

// DevMode implements op.Client.
func (c client) DevMode() bool { return c.OIDC == nil || c.OIDC.DevelopmentMode }

// RestrictAdditionalIdTokenScopes implements op.Client.
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { return same } //nolint:revive // the library's name

// RestrictAdditionalAccessTokenScopes implements op.Client.
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return same }

// IsScopeAllowed implements op.Client.
func (c client) IsScopeAllowed(string) bool { return true }

// IDTokenUserinfoClaimsAssertion implements op.Client.
func (c client) IDTokenUserinfoClaimsAssertion() bool { return false }

// ClockSkew implements op.Client.
func (c client) ClockSkew() time.Duration { return 0 }
