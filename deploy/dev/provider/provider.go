// Package provider runs the identity provider of a local fleet: a development
// provider whose directory is kept in a file, with a machine user for each device.
package provider

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/secretfile"
)

// What the directory of a local fleet has besides its devices. The people's ids are
// the names of their roles.
const (
	DeviceOrganization = "3000"
	PeopleOrganization = "4000"
	Project            = "3012"
	DeviceRole         = "device"
	// ClientID is the application by which people log in at a terminal.
	ClientID = "fleetctl"
	// DashboardClientID is the application by which people sign in to the dashboard.
	DashboardClientID = "fleet-dashboard"
)

// Options wire a Provider.
type Options struct {
	File        string // keeps the directory and the signing keys (mode 0600)
	Listener    net.Listener
	Certificate tls.Certificate
	// TokenLifetime is how long access tokens hold; 0: as Zitadel's.
	TokenLifetime time.Duration
	Logger        *slog.Logger
}

// Provider is the development provider of a local fleet.
type Provider struct {
	*devprovider.Provider
	file string
	mu   sync.Mutex // held while the file is written
}

// Load reads the directory from its file, or makes one with an application and
// people where there is none.
func Load(o Options) (*Provider, error) {
	state, err := os.ReadFile(o.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("identity provider: %w", err)
	}
	dev, err := devprovider.New(devprovider.Options{
		Listener: o.Listener, Certificate: &o.Certificate, TokenLifetime: o.TokenLifetime, State: state, Logger: o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("identity provider: %s: %w; remove the file to start over", o.File, err)
	}
	p := &Provider{Provider: dev, file: o.File}
	if len(state) > 0 {
		return p, nil
	}
	if err := p.populate(); err != nil {
		return nil, fmt.Errorf("identity provider: %w", err)
	}
	return p, p.Save()
}

func (p *Provider) populate() error {
	p.AddOrganization(devprovider.Organization{ID: DeviceOrganization, Domain: "devices.localhost"})
	p.AddOrganization(devprovider.Organization{ID: PeopleOrganization, Domain: "people.localhost"})
	p.AddProject(Project)
	if _, err := p.AddApplication(devprovider.Application{ClientID: ClientID, Project: Project, Native: true}); err != nil {
		return err
	}
	for _, role := range []string{"viewer", "operator", "admin"} {
		if _, err := p.AddUser(devprovider.User{ID: role, Name: "the local " + role, Organization: PeopleOrganization}); err != nil {
			return err
		}
		if err := p.GrantRole(role, devprovider.Role{Project: Project, Key: role, Organization: PeopleOrganization}); err != nil {
			return err
		}
	}
	if _, err := p.AddUser(devprovider.User{ID: "guest", Name: "the local guest", Organization: PeopleOrganization}); err != nil { // who has no role
		return err
	}
	p.AddAdministrator("admin", DeviceOrganization, "ORG_USER_MANAGER") // enrols devices
	return nil
}

// Dashboard has browsers sign in to a dashboard at an address, and at no other.
func (p *Provider) Dashboard(address string) error {
	err := p.SetApplication(devprovider.Application{ClientID: DashboardClientID, Project: Project, OIDC: &devprovider.OIDC{
		RedirectURIs: []string{address + "/auth/callback"}, PostLogoutRedirectURIs: []string{address + "/"},
		ResponseTypes: []string{"OIDC_RESPONSE_TYPE_CODE"}, GrantTypes: []string{"OIDC_GRANT_TYPE_AUTHORIZATION_CODE"},
		ApplicationType: "OIDC_APP_TYPE_WEB", AuthMethodType: "OIDC_AUTH_METHOD_TYPE_NONE", DevelopmentMode: true,
		AccessTokenType: "OIDC_TOKEN_TYPE_JWT", AccessTokenRoleAssertion: true,
	}})
	if err != nil {
		return fmt.Errorf("identity provider: the dashboard's application: %w", err)
	}
	return nil
}

// Enrol gives a device its machine user and its key file (mode 0600), unless it has
// them already.
func (p *Provider) Enrol(device, keyFile string) error {
	_, err := p.AddUser(devprovider.User{ID: device, Organization: DeviceOrganization, Machine: true, TokenType: devprovider.JWT})
	switch {
	case err == nil:
		err = p.GrantRole(device, devprovider.Role{Project: Project, Key: DeviceRole, Organization: DeviceOrganization})
	case errors.Is(err, devprovider.ErrExists):
		err = nil
	}
	if err != nil {
		return fmt.Errorf("enrol device %s: %w", device, err)
	}
	if key, err := openid.ReadKey(keyFile); err == nil && key.UserID == device && p.HasKey(key.ID, device) {
		return nil
	}
	text, err := p.AddKey(device, time.Time{})
	if err != nil {
		return fmt.Errorf("enrol device %s: %w", device, err)
	}
	if err := secretfile.Write(keyFile, text); err != nil {
		return fmt.Errorf("enrol device %s: %w", device, err)
	}
	return nil
}

// Save writes the directory to its file.
func (p *Provider) Save() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	state, err := p.State()
	if err == nil {
		err = secretfile.Write(p.file, state)
	}
	if err != nil {
		return fmt.Errorf("identity provider: keep its directory: %w", err)
	}
	return nil
}
