package devprovider

import (
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
func (c client) RedirectURIs() []string { return nil }

// PostLogoutRedirectURIs implements op.Client.
func (c client) PostLogoutRedirectURIs() []string { return nil }

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
func (c client) ResponseTypes() []oidc.ResponseType { return nil }

// GrantTypes implements op.Client.
func (c client) GrantTypes() []oidc.GrantType {
	if c.Native {
		return []oidc.GrantType{oidc.GrantTypeDeviceCode, oidc.GrantTypeRefreshToken}
	}
	return nil
}

// LoginURL implements op.Client.
func (c client) LoginURL(string) string { return devicePath }

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
func (c client) DevMode() bool { return true }

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
