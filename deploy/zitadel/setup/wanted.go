// Package setup makes what a fleet needs at its provider: organization, project,
// roles, applications, the enrolment account, and their keys.
package setup

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/zitadel"
)

// Wanted is what a fleet needs. Objects are found by their names.
type Wanted struct {
	DeviceOrganization string
	// PeopleOrganization owns the project; empty: the instance's default one.
	PeopleOrganization string
	Project            string
	// DashboardURL is where the dashboard is; empty: it gets no application.
	DashboardURL string
	// KeyLife is how long a key that is made here holds.
	KeyLife time.Duration
}

// Names and lives, where nothing else is said.
const (
	DefaultDeviceOrganization = "fleet-devices"
	DefaultProject            = "fleet"
	DefaultKeyLife            = 365 * 24 * time.Hour

	callout   = "fleet-callout"
	cli       = "fleetctl"
	dashboard = "fleet-dashboard"
	account   = "fleet-enrolment"

	callbackPath = "/auth/callback"

	minKeyLife = 24 * time.Hour
	// renewBefore is how long before its end a key is replaced.
	renewBefore = 30 * 24 * time.Hour
)

// role is one of the project's.
type role struct{ key, displayName string }

func roles() []role {
	return []role{
		{"viewer", "Fleet viewer"},
		{"operator", "Fleet operator"},
		{"admin", "Fleet admin"},
		{"service-viewer", "Fleet service, viewer"},
		{"service-operator", "Fleet service, operator"},
		{"device", "Fleet device"},
	}
}

// Check says what is wrong.
func (w Wanted) Check() error {
	var all []error
	for what, name := range map[string]string{"organization of the devices": w.DeviceOrganization, "project": w.Project} {
		if name == "" {
			all = append(all, fmt.Errorf("the %s needs a name", what))
		}
	}
	if w.DeviceOrganization != "" && w.DeviceOrganization == w.PeopleOrganization {
		all = append(all, errors.New("devices need an organization of their own, so that those who manage devices have no power over people"))
	}
	if w.KeyLife < minKeyLife {
		all = append(all, fmt.Errorf("a key must hold for %s or longer", minKeyLife))
	}
	if u, err := url.Parse(w.DashboardURL); w.DashboardURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "") {
		all = append(all, fmt.Errorf("the dashboard's address %q must be a URL such as https://fleet.example.org", w.DashboardURL))
	}
	return errors.Join(all...)
}

// applications are those that the project needs.
func (w Wanted) applications() []zitadel.Application {
	all := []zitadel.Application{
		{Name: callout}, // an API that authenticates by a key
		{Name: cli, OIDC: &zitadel.OIDC{
			Type: zitadel.Native, Auth: zitadel.AuthNone, Grants: []string{zitadel.GrantDeviceCode, zitadel.GrantRefreshToken},
			Responses: []string{zitadel.ResponseCode}, AccessTokens: zitadel.TokensJWT, AccessTokenRoles: true,
		}},
	}
	if w.DashboardURL == "" {
		return all
	}
	at := strings.TrimSuffix(w.DashboardURL, "/")
	return append(all, zitadel.Application{Name: dashboard, OIDC: &zitadel.OIDC{
		Type: zitadel.Web, Auth: zitadel.AuthNone, Grants: []string{zitadel.GrantAuthorizationCode, zitadel.GrantRefreshToken},
		Responses: []string{zitadel.ResponseCode}, RedirectURIs: []string{at + callbackPath}, PostLogoutRedirectURIs: []string{at + "/"},
		DevMode: strings.HasPrefix(at, "http:"), AccessTokens: zitadel.TokensJWT, AccessTokenRoles: true, IDTokenRoles: true,
	}})
}
