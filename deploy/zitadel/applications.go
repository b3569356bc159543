package zitadel

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const applicationService = "zitadel.application.v2.ApplicationService/"

// Application is a client of the provider, in a project.
type Application struct {
	ID       string
	ClientID string
	Name     string
	OIDC     *OIDC // nil: an API that authenticates by a key
}

// OIDC configures an application by which people sign in, as the API names it. What
// the API leaves out of an answer is its default.
type OIDC struct {
	Type                   string // OIDC_APP_TYPE_…
	Auth                   string // OIDC_AUTH_METHOD_TYPE_…
	Grants                 []string
	Responses              []string
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	DevMode                bool // redirect URIs may be http
	AccessTokens           string
	AccessTokenRoles       bool // roles in access tokens
	IDTokenRoles           bool // roles in id tokens
}

// Values of OIDC.
const (
	Native                 = "OIDC_APP_TYPE_NATIVE"
	Web                    = "OIDC_APP_TYPE_WEB"
	AuthNone               = "OIDC_AUTH_METHOD_TYPE_NONE"  // by PKCE alone
	AuthBasic              = "OIDC_AUTH_METHOD_TYPE_BASIC" // by a secret
	GrantDeviceCode        = "OIDC_GRANT_TYPE_DEVICE_CODE"
	GrantAuthorizationCode = "OIDC_GRANT_TYPE_AUTHORIZATION_CODE"
	GrantRefreshToken      = "OIDC_GRANT_TYPE_REFRESH_TOKEN"
	ResponseCode           = "OIDC_RESPONSE_TYPE_CODE"
	TokensJWT              = "OIDC_TOKEN_TYPE_JWT"

	tokensOpaque = "OIDC_TOKEN_TYPE_BEARER"
	byPrivateKey = "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT"
)

// Same says whether two configurations mean the same.
func (o *OIDC) Same(other *OIDC) bool {
	if o == nil || other == nil {
		return o == other
	}
	sets := func(a, b []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	return o.Type == other.Type && o.Auth == other.Auth && o.DevMode == other.DevMode && o.AccessTokens == other.AccessTokens &&
		o.AccessTokenRoles == other.AccessTokenRoles && o.IDTokenRoles == other.IDTokenRoles && sets(o.Grants, other.Grants) &&
		sets(o.Responses, other.Responses) && sets(o.RedirectURIs, other.RedirectURIs) && sets(o.PostLogoutRedirectURIs, other.PostLogoutRedirectURIs)
}

// oidcShape is OIDC as both generations write it.
type oidcShape struct {
	ClientID               string   `json:"clientId,omitempty"` // of answers
	ApplicationType        string   `json:"applicationType,omitempty"`
	AppType                string   `json:"appType,omitempty"` // v1
	AuthMethodType         string   `json:"authMethodType"`
	GrantTypes             []string `json:"grantTypes"`
	ResponseTypes          []string `json:"responseTypes"`
	RedirectURIs           []string `json:"redirectUris"`
	PostLogoutRedirectURIs []string `json:"postLogoutRedirectUris"`
	DevelopmentMode        bool     `json:"developmentMode,omitempty"`
	DevMode                bool     `json:"devMode,omitempty"` // v1
	AccessTokenType        string   `json:"accessTokenType"`
	AccessTokenRoles       bool     `json:"accessTokenRoleAssertion"`
	IDTokenRoles           bool     `json:"idTokenRoleAssertion"`
}

func (o OIDC) v2() *oidcShape {
	return &oidcShape{
		ApplicationType: o.Type, AuthMethodType: o.Auth, GrantTypes: o.Grants, ResponseTypes: o.Responses, RedirectURIs: o.RedirectURIs,
		PostLogoutRedirectURIs: o.PostLogoutRedirectURIs, DevelopmentMode: o.DevMode, AccessTokenType: o.AccessTokens,
		AccessTokenRoles: o.AccessTokenRoles, IDTokenRoles: o.IDTokenRoles,
	}
}

func (o OIDC) v1() *oidcShape {
	s := o.v2()
	s.AppType, s.ApplicationType, s.DevMode, s.DevelopmentMode = s.ApplicationType, "", s.DevelopmentMode, false
	return s
}

func (s oidcShape) read() *OIDC {
	or := func(texts ...string) string {
		for _, text := range texts {
			if text != "" {
				return text
			}
		}
		return ""
	}
	return &OIDC{
		Type: or(s.ApplicationType, s.AppType, Web), Auth: or(s.AuthMethodType, AuthBasic), Grants: s.GrantTypes, Responses: s.ResponseTypes,
		RedirectURIs: s.RedirectURIs, PostLogoutRedirectURIs: s.PostLogoutRedirectURIs, DevMode: s.DevelopmentMode || s.DevMode,
		AccessTokens: or(s.AccessTokenType, tokensOpaque), AccessTokenRoles: s.AccessTokenRoles, IDTokenRoles: s.IDTokenRoles,
	}
}

type apiShape struct {
	ClientID       string `json:"clientId,omitempty"` // of answers
	AuthMethodType string `json:"authMethodType,omitempty"`
}

// Applications lists those of a project. A new one may be missing for a while.
func (c *Client) Applications(ctx context.Context, project string) ([]Application, error) {
	type filter struct {
		Project struct {
			ID string `json:"projectId"`
		} `json:"projectIdFilter"`
	}
	type shape struct {
		ID            string     `json:"id"` // v1
		ApplicationID string     `json:"applicationId"`
		Name          string     `json:"name"`
		OIDC          *oidcShape `json:"oidcConfiguration"`
		OIDCOld       *oidcShape `json:"oidcConfig"`
		API           *apiShape  `json:"apiConfiguration"`
		APIOld        *apiShape  `json:"apiConfig"`
	}
	var out struct {
		Applications []shape `json:"applications"`
		Result       []shape `json:"result"` // v1
	}
	var of filter
	of.Project.ID = project
	_, err := c.ask(ctx, question{"list the applications of project " + project, "ListApplications", needsOwner},
		connect(applicationService+"ListApplications", struct {
			Filters []filter `json:"filters"`
		}{[]filter{of}}, &out),
		way{http.MethodPost, "/management/v1/projects/" + url.PathEscape(project) + "/apps/_search", nil, &out})
	var all []Application
	for _, s := range slices.Concat(out.Applications, out.Result) {
		a := Application{ID: s.ApplicationID + s.ID, Name: s.Name}
		for _, o := range []*oidcShape{s.OIDC, s.OIDCOld} {
			if o != nil {
				a.OIDC, a.ClientID = o.read(), o.ClientID
			}
		}
		for _, api := range []*apiShape{s.API, s.APIOld} {
			if api != nil {
				a.ClientID = api.ClientID
			}
		}
		all = append(all, a)
	}
	return all, err
}

// EnsureApplication makes an application, unless the project has one of that name,
// and gives it as it is there.
func (c *Client) EnsureApplication(ctx context.Context, project string, a Application) (there Application, created bool, err error) {
	type in struct {
		Project string     `json:"projectId"`
		Name    string     `json:"name"`
		OIDC    *oidcShape `json:"oidcConfiguration,omitempty"`
		API     *apiShape  `json:"apiConfiguration,omitempty"`
	}
	var made struct {
		ApplicationID string   `json:"applicationId"`
		OIDC          apiShape `json:"oidcConfiguration"`
		API           apiShape `json:"apiConfiguration"`
		AppID         string   `json:"appId"`    // v1
		ClientID      string   `json:"clientId"` // v1
	}
	q := question{"make application " + a.Name, "CreateApplication", needsOwner}
	path := "/management/v1/projects/" + url.PathEscape(project) + "/apps/"
	newer := in{Project: project, Name: a.Name, API: &apiShape{AuthMethodType: byPrivateKey}}
	older := way{http.MethodPost, path + "api", struct {
		Name string `json:"name"`
		apiShape
	}{a.Name, *newer.API}, &made}
	if a.OIDC != nil {
		newer.API, newer.OIDC = nil, a.OIDC.v2()
		older.path, older.in = path+"oidc", struct {
			Name string `json:"name"`
			*oidcShape
		}{a.Name, a.OIDC.v1()}
	}
	_, err = c.ask(ctx, q, connect(applicationService+"CreateApplication", newer, &made), older)
	if !errors.Is(err, ErrExists) {
		a.ID, a.ClientID = made.ApplicationID+made.AppID, made.OIDC.ClientID+made.API.ClientID+made.ClientID
		return a, err == nil, err
	}
	_, err = c.existing(ctx, q, func() (string, bool, error) {
		all, err := c.Applications(ctx, project)
		i := slices.IndexFunc(all, func(other Application) bool { return other.Name == a.Name })
		if i < 0 {
			return "", false, err
		}
		a = all[i]
		return a.ID, true, err
	})
	return a, false, err
}

// Configure changes how people sign in by an application.
func (c *Client) Configure(ctx context.Context, project string, a Application) error {
	_, err := c.ask(ctx, question{"configure application " + a.Name, "UpdateApplication", needsOwner},
		connect(applicationService+"UpdateApplication", struct {
			Project     string     `json:"projectId"`
			Application string     `json:"applicationId"`
			OIDC        *oidcShape `json:"oidcConfiguration"`
		}{project, a.ID, a.OIDC.v2()}, nil),
		way{http.MethodPut, "/management/v1/projects/" + url.PathEscape(project) + "/apps/" + url.PathEscape(a.ID) + "/oidc_config", a.OIDC.v1(), nil})
	return err
}

// MakeApplicationKey has the provider make a key for an API, and gives its key file,
// which the provider shows this once.
func (c *Client) MakeApplicationKey(ctx context.Context, project, application string, expires time.Time) (keyID string, file []byte, err error) {
	var made keyOut
	q := question{"make a key for application " + application, "CreateApplicationKey", needsOwner}
	_, err = c.ask(ctx, q,
		connect(applicationService+"CreateApplicationKey", struct {
			Project     string `json:"projectId"`
			Application string `json:"applicationId"`
			keyIn
		}{project, application, keyIn{Expires: expires.UTC()}}, &made),
		way{http.MethodPost, "/management/v1/projects/" + url.PathEscape(project) + "/apps/" + url.PathEscape(application) + "/keys", keyIn{Type: keyTypeJSON, Expires: expires.UTC()}, &made})
	if err == nil && (made.id() == "" || len(made.file()) == 0) {
		err = &Refusal{Doing: q.doing, Kind: ErrAnswer, cause: errors.New("it holds no key file")}
	}
	return made.id(), made.file(), err
}

// ApplicationKeys lists the keys of an API. A new one may be missing for a while.
func (c *Client) ApplicationKeys(ctx context.Context, project, application string) ([]Key, error) {
	type filter struct {
		Application struct {
			ID string `json:"applicationId"`
		} `json:"applicationIdFilter"`
	}
	var of filter
	of.Application.ID = application
	var found keysOut
	_, err := c.ask(ctx, question{"list the keys of application " + application, "ListApplicationKeys", needsOwner},
		connect(applicationService+"ListApplicationKeys", struct {
			Filters []filter `json:"filters"`
		}{[]filter{of}}, &found),
		way{http.MethodPost, "/management/v1/projects/" + url.PathEscape(project) + "/apps/" + url.PathEscape(application) + "/keys/_search", nil, &found})
	return found.keys(), err
}
