package devprovider

import "slices"

// What the API says of applications.
const (
	tokenTypeJWT    = "OIDC_TOKEN_TYPE_JWT"
	appNative       = "OIDC_APP_TYPE_NATIVE"
	grantsCodes     = "OIDC_GRANT_TYPE_AUTHORIZATION_CODE"
	grantsDevices   = "OIDC_GRANT_TYPE_DEVICE_CODE"
	authNone        = "OIDC_AUTH_METHOD_TYPE_NONE"
	apiByPrivateKey = "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT"
)

// OIDC is the configuration of an application that is no API, as v2 has it.
type OIDC struct {
	RedirectURIs             []string `json:"redirectUris,omitempty"`
	ResponseTypes            []string `json:"responseTypes,omitempty"`
	GrantTypes               []string `json:"grantTypes,omitempty"`
	ApplicationType          string   `json:"applicationType,omitempty"`
	AuthMethodType           string   `json:"authMethodType,omitempty"`
	PostLogoutRedirectURIs   []string `json:"postLogoutRedirectUris,omitempty"`
	DevelopmentMode          bool     `json:"developmentMode,omitempty"`
	AccessTokenType          string   `json:"accessTokenType,omitempty"`
	AccessTokenRoleAssertion bool     `json:"accessTokenRoleAssertion,omitempty"`
	IDTokenRoleAssertion     bool     `json:"idTokenRoleAssertion,omitempty"`
}

// oidcV1 has the names of v1.
type oidcV1 struct {
	Name                     string   `json:"name,omitempty"`
	RedirectURIs             []string `json:"redirectUris,omitempty"`
	ResponseTypes            []string `json:"responseTypes,omitempty"`
	GrantTypes               []string `json:"grantTypes,omitempty"`
	AppType                  string   `json:"appType,omitempty"`
	AuthMethodType           string   `json:"authMethodType,omitempty"`
	PostLogoutRedirectURIs   []string `json:"postLogoutRedirectUris,omitempty"`
	DevMode                  bool     `json:"devMode,omitempty"`
	AccessTokenType          string   `json:"accessTokenType,omitempty"`
	AccessTokenRoleAssertion bool     `json:"accessTokenRoleAssertion,omitempty"`
	IDTokenRoleAssertion     bool     `json:"idTokenRoleAssertion,omitempty"`
	ClientID                 string   `json:"clientId,omitempty"` // of answers
}

func (o oidcV1) v2() OIDC {
	return OIDC{
		o.RedirectURIs, o.ResponseTypes, o.GrantTypes, o.AppType, o.AuthMethodType, o.PostLogoutRedirectURIs,
		o.DevMode, o.AccessTokenType, o.AccessTokenRoleAssertion, o.IDTokenRoleAssertion,
	}
}

func (o OIDC) v1(clientID string) oidcV1 {
	return oidcV1{
		"", o.RedirectURIs, o.ResponseTypes, o.GrantTypes, o.ApplicationType, o.AuthMethodType, o.PostLogoutRedirectURIs,
		o.DevelopmentMode, o.AccessTokenType, o.AccessTokenRoleAssertion, o.IDTokenRoleAssertion, clientID,
	}
}

// withoutDefaults leaves out what is a default, as the API does.
func (o OIDC) withoutDefaults() OIDC {
	for text, def := range map[*string]string{
		&o.ApplicationType: "OIDC_APP_TYPE_WEB", &o.AuthMethodType: "OIDC_AUTH_METHOD_TYPE_BASIC", &o.AccessTokenType: "OIDC_TOKEN_TYPE_BEARER",
	} {
		if *text == def {
			*text = ""
		}
	}
	return o
}

// isNative says whether an application has the device flow.
func isNative(o *OIDC) bool {
	return o.ApplicationType == appNative && o.AuthMethodType == authNone && slices.Contains(o.GrantTypes, grantsDevices)
}
