package devprovider

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Errors of the directory.
var (
	// ErrExists says that an id or a name is taken.
	ErrExists = errors.New("it exists already")
	// ErrNotFound says that an id is unknown.
	ErrNotFound = errors.New("it does not exist")
)

// TokenType is the form of a user's access tokens.
type TokenType int

// The forms. A machine user has Opaque unless it is told otherwise, as in Zitadel.
const (
	Opaque TokenType = iota
	JWT
)

// Organization owns users and projects, and grants roles.
type Organization struct {
	ID     string // empty: the provider makes one
	Name   string `json:",omitempty"` // unique; empty: the id
	Domain string // its primary one; empty: made of the name
}

// Project has the roles and the applications of one product.
type Project struct {
	ID            string
	Name          string
	Organization  string
	RoleAssertion bool
	Roles         []string // keys
}

// User is a machine or a person.
type User struct {
	ID           string // free to choose; empty: the provider makes one
	Username     string // empty: the id
	Name         string // of a person, for people
	Description  string `json:",omitempty"` // of a machine
	Organization string
	Machine      bool
	TokenType    TokenType // of a machine
	Metadata     map[string]string
}

// Role is one role of a project, granted by an organization.
type Role struct {
	Project      string
	Key          string
	Organization string
}

// Application is a client of the provider, in a project.
type Application struct {
	ClientID string // empty: the provider makes one
	Project  string
	Secret   string // of an API that authenticates by Basic; empty: by a key
	Native   bool   // a public client with the device flow, not an API
	// ID and Name are those of the management API; empty: the client id.
	ID   string `json:",omitempty"`
	Name string `json:",omitempty"`
	// OIDC is the configuration of an application that is no API; nil where it was
	// added with Native alone.
	OIDC *OIDC `json:",omitempty"`
}

type directory struct {
	mu            sync.Mutex
	lag           time.Duration
	next          int64
	generation    Generation
	organizations map[string]Organization
	projects      map[string]*Project
	// administrators are the roles in the management API: by resource (instance, or
	// an organization's id), then by user.
	administrators map[string]map[string][]string
	// unseen says from when searches show an object; what is not in it they show.
	unseen       map[string]time.Time
	users        map[string]*user
	gone         map[string]bool // ids that were deleted: they never come back
	applications map[string]Application
	keys         map[string]*publicKey // by key id
	tokens       map[string]*token     // by token id
	codes        map[string]*code      // of the device flow, by device code
	refreshes    map[string]*refresh   // by refresh token
	signIns      map[string]*signIn    // of the authorization code flow, by id
}

type user struct {
	User
	inactive, locked bool
	seen             time.Time
	roles            []grantedRole
}

type grantedRole struct {
	Role
	authorization string // its id; one authorization has several roles
	seen          time.Time
}

// publicKey is the half of a key that the provider keeps. Its owner is a user's
// id or a client id.
type publicKey struct {
	owner string
	key   *rsa.PublicKey
	made  time.Time
	ends  time.Time
	seen  time.Time
}

func newDirectory(lag time.Duration) *directory {
	return &directory{
		lag: lag, next: 301234567890123400, organizations: map[string]Organization{}, projects: map[string]*Project{},
		administrators: map[string]map[string][]string{}, unseen: map[string]time.Time{},
		users: map[string]*user{}, gone: map[string]bool{}, applications: map[string]Application{},
		keys: map[string]*publicKey{}, tokens: map[string]*token{}, codes: map[string]*code{}, refreshes: map[string]*refresh{},
		signIns: map[string]*signIn{},
	}
}

// id makes an id of digits, as Zitadel does. mu is held.
func (d *directory) id() string {
	d.next++
	return strconv.FormatInt(d.next, 10)
}

// AddOrganization adds an organization.
func (p *Provider) AddOrganization(o Organization) {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	if o.Name == "" {
		o.Name = o.ID
	}
	p.directory.organizations[o.ID] = o
}

// AddProject adds a project by its id.
func (p *Provider) AddProject(id string) {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	p.directory.projects[id] = &Project{ID: id, Name: id}
}

// AddUser adds a user and gives its id. It fails with ErrExists where the id, or
// the name in the organization, is or was taken.
func (p *Provider) AddUser(u User) (id string, err error) {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	return p.directory.addUser(u)
}

// addUser adds a user. mu is held.
func (d *directory) addUser(u User) (id string, err error) {
	if u.ID == "" {
		u.ID = d.id()
	}
	if u.Username == "" {
		u.Username = u.ID
	}
	if d.users[u.ID] != nil || d.gone[u.ID] {
		return "", fmt.Errorf("user id %s: %w", u.ID, ErrExists)
	}
	for _, other := range d.users {
		if other.Organization == u.Organization && other.Username == u.Username {
			return "", fmt.Errorf("username %s: %w", u.Username, ErrExists)
		}
	}
	if _, ok := d.organizations[u.Organization]; !ok {
		return "", fmt.Errorf("organization %s: %w", u.Organization, ErrNotFound)
	}
	u.Metadata = maps.Clone(u.Metadata)
	d.users[u.ID] = &user{User: u, seen: time.Now().Add(d.lag)}
	return u.ID, nil
}

// SetActive locks a user out, or lets it in again.
func (p *Provider) SetActive(id string, active bool) error {
	return p.change(id, func(u *user) { u.inactive = !active })
}

// SetTokenType changes the form of a machine's tokens.
func (p *Provider) SetTokenType(id string, t TokenType) error {
	return p.change(id, func(u *user) { u.TokenType = t })
}

// SetMetadata sets or replaces one value of a user's metadata.
func (p *Provider) SetMetadata(id, key, value string) error {
	return p.change(id, func(u *user) {
		if u.Metadata == nil {
			u.Metadata = map[string]string{}
		}
		u.Metadata[key] = value
	})
}

// GrantRole grants a role to a user.
func (p *Provider) GrantRole(id string, r Role) error {
	return p.change(id, func(u *user) {
		u.roles = append(u.roles, grantedRole{Role: r, authorization: p.directory.id(), seen: time.Now().Add(p.directory.lag)})
	})
}

// WithdrawRoles takes all roles of a project from a user.
func (p *Provider) WithdrawRoles(id, project string) error {
	return p.change(id, func(u *user) {
		u.roles = slices.DeleteFunc(u.roles, func(r grantedRole) bool { return r.Project == project })
	})
}

func (p *Provider) change(id string, f func(*user)) error {
	d := p.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[id]
	if u == nil {
		return fmt.Errorf("user %s: %w", id, ErrNotFound)
	}
	f(u)
	return nil
}

// DeleteUser removes a user and its keys. Its id never comes back.
func (p *Provider) DeleteUser(id string) error {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	return p.directory.deleteUser(id)
}

// deleteUser removes a user. mu is held.
func (d *directory) deleteUser(id string) error {
	if d.users[id] == nil {
		return fmt.Errorf("user %s: %w", id, ErrNotFound)
	}
	delete(d.users, id)
	d.gone[id] = true
	d.deleteKeysOf(id)
	for _, members := range d.administrators {
		delete(members, id)
	}
	return nil
}

// deleteKeysOf removes the keys of a user or a client. mu is held.
func (d *directory) deleteKeysOf(owner string) {
	maps.DeleteFunc(d.keys, func(_ string, k *publicKey) bool { return k.owner == owner })
}

// AddApplication adds a client and gives its client id.
func (p *Provider) AddApplication(a Application) (clientID string, err error) {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	return p.directory.addApplication(a)
}

// SetApplication changes a client, or adds it where there is none of its client id.
func (p *Provider) SetApplication(a Application) error {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	old, ok := p.directory.applications[a.ClientID]
	delete(p.directory.applications, a.ClientID)
	_, err := p.directory.addApplication(a)
	if err != nil && ok {
		p.directory.applications[a.ClientID] = old
	}
	return err
}

// addApplication adds a client. mu is held.
func (d *directory) addApplication(a Application) (clientID string, err error) {
	if d.projects[a.Project] == nil {
		return "", fmt.Errorf("project %s: %w", a.Project, ErrNotFound)
	}
	if a.ClientID == "" {
		a.ClientID = d.id()
	}
	if a.ID == "" {
		a.ID = a.ClientID
	}
	if a.Name == "" {
		a.Name = a.ClientID
	}
	if _, ok := d.applications[a.ClientID]; ok {
		return "", fmt.Errorf("client id %s: %w", a.ClientID, ErrExists)
	}
	d.applications[a.ClientID] = a
	return a.ClientID, nil
}

// active gives a user that may have tokens. mu is held.
func (d *directory) active(id string) (*user, bool) {
	u := d.users[id]
	return u, u != nil && !u.inactive && !u.locked && !time.Now().Before(u.seen)
}

// Lock locks a user out, as too many wrong passwords do.
func (p *Provider) Lock(id string) error {
	return p.change(id, func(u *user) { u.locked = true })
}
