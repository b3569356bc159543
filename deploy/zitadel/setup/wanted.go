// Package setup makes what a fleet needs at its provider: organization, project,
// roles, applications, the enrolment account, and their keys.
package setup

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
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

	callbackPath = "/auth/callback" // of the dashboard's sign-in, below its address

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
	if w.DashboardURL != "" {
		all = append(all, checkDashboard(w.DashboardURL))
	}
	return errors.Join(all...)
}

// checkDashboard says what is wrong with the dashboard's address. fleet-operator refuses the
// same, and persons would be sent to an address that it does not have.
func checkDashboard(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("the dashboard's address %q must be a URL such as https://fleet.example.org", address)
	case u.Path != "" && u.Path != "/":
		return fmt.Errorf("the dashboard's address %q: the dashboard is at the root of its host; leave the path out", address)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("the dashboard's address %q: tokens must not travel in clear; give https, or http on the loopback alone", address)
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
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
		Type: zitadel.Web, Auth: zitadel.AuthNone, Grants: []string{zitadel.GrantAuthorizationCode}, // a session ends with its token
		Responses: []string{zitadel.ResponseCode}, RedirectURIs: []string{at + callbackPath}, PostLogoutRedirectURIs: []string{at + "/"},
		DevMode: strings.HasPrefix(at, "http:"), AccessTokens: zitadel.TokensJWT, AccessTokenRoles: true,
	}})
}

// beside is what an application is to be where there is one already. A dashboard that has a secret
// keeps it: whoever gave it one wants that nobody else takes codes for tokens.
func beside(wanted, there zitadel.Application) zitadel.Application {
	if wanted.Name != dashboard || there.OIDC == nil || there.OIDC.Auth != zitadel.AuthBasic {
		return wanted
	}
	o := *wanted.OIDC
	o.Auth = zitadel.AuthBasic
	wanted.OIDC = &o
	return wanted
}

// differs says why an application is changed. A redirect URI that goes may be in use.
func differs(wanted, there zitadel.Application) string {
	var gone []string
	if wanted.OIDC != nil && there.OIDC != nil {
		for _, uri := range slices.Concat(there.OIDC.RedirectURIs, there.OIDC.PostLogoutRedirectURIs) {
			if !slices.Contains(wanted.OIDC.RedirectURIs, uri) && !slices.Contains(wanted.OIDC.PostLogoutRedirectURIs, uri) {
				gone = append(gone, uri)
			}
		}
	}
	if len(gone) > 0 {
		return "its configuration differed; these redirect URIs go: " + strings.Join(gone, " ")
	}
	return "its configuration differed"
}

// dashboardAt is the address of the dashboard whose application this is; empty where the
// application sends persons elsewhere.
func dashboardAt(a zitadel.Application) string {
	if a.OIDC == nil || len(a.OIDC.RedirectURIs) != 1 {
		return ""
	}
	at, is := strings.CutSuffix(a.OIDC.RedirectURIs[0], callbackPath)
	if !is {
		return ""
	}
	return at
}
