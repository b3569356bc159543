package devprovider

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// state is what a provider knows, as State writes it. Access tokens and codes that
// were given are not in it: a JWT holds by its signature, and an opaque token and a
// code are asked for again.
type state struct {
	Next          int64                  `json:"next"`
	Organizations []Organization         `json:"organizations"`
	Projects      []stateProject         `json:"projects"`
	Applications  []Application          `json:"applications"`
	Users         []stateUser            `json:"users"`
	Gone          []string               `json:"gone,omitempty"`
	Keys          map[string]statePublic `json:"keys"` // by key id
	Refreshes     []stateRefresh         `json:"refreshes,omitempty"`
	// Administrators are by resource, then by user.
	Administrators map[string]map[string][]string `json:"administrators,omitempty"`
	SigningKeys    int                            `json:"signing_keys"` // how many there have been
	Signing        []stateSigning                 `json:"signing"`
}

// stateProject is a project. Older states have its id alone.
type stateProject struct{ Project }

// UnmarshalJSON implements json.Unmarshaler.
func (p *stateProject) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &p.ID) == nil {
		p.Name = p.ID
		return nil
	}
	return json.Unmarshal(text, &p.Project)
}

type stateUser struct {
	User
	Inactive bool   `json:",omitempty"`
	Locked   bool   `json:",omitempty"`
	Roles    []Role `json:",omitempty"`
}

type statePublic struct {
	Owner string    `json:"owner"`
	Key   []byte    `json:"key"` // PKCS#1, DER
	Ends  time.Time `json:"ends"`
}

type stateSigning struct {
	ID        string `json:"id"`
	Algorithm string `json:"algorithm"`
	Key       []byte `json:"key"` // private, PKCS#8, DER
}

type stateRefresh struct {
	Token         string    `json:"token"`
	Subject       string    `json:"subject"`
	Client        string    `json:"client"`
	Audience      []string  `json:"audience"`
	Scopes        []string  `json:"scopes"`
	Authenticated time.Time `json:"authenticated"`
	Ends          time.Time `json:"ends"`
}

// State gives all that the provider knows, its private signing keys included, for
// Options.State of the provider that goes on after it.
func (p *Provider) State() ([]byte, error) {
	s := state{Keys: map[string]statePublic{}}
	p.directory.save(&s)
	if err := p.keys.save(&s); err != nil {
		return nil, fmt.Errorf("state of the development provider: %w", err)
	}
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return nil, fmt.Errorf("state of the development provider: %w", err)
	}
	return b, nil
}

func (p *Provider) restore(text []byte) error {
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if err := p.directory.restore(s); err != nil {
		return err
	}
	return p.keys.restore(s)
}

func (d *directory) save(s *state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Next = d.next
	s.Organizations = slices.SortedFunc(maps.Values(d.organizations), func(a, b Organization) int { return cmp.Compare(a.ID, b.ID) })
	for _, id := range slices.Sorted(maps.Keys(d.projects)) {
		s.Projects = append(s.Projects, stateProject{*d.projects[id]})
	}
	s.Administrators = d.administrators
	s.Applications = slices.SortedFunc(maps.Values(d.applications), func(a, b Application) int { return cmp.Compare(a.ClientID, b.ClientID) })
	s.Gone = slices.Sorted(maps.Keys(d.gone))
	for _, id := range slices.Sorted(maps.Keys(d.users)) {
		u := d.users[id]
		known := stateUser{User: u.User, Inactive: u.inactive, Locked: u.locked}
		for _, r := range u.roles {
			known.Roles = append(known.Roles, r.Role)
		}
		s.Users = append(s.Users, known)
	}
	for id, k := range d.keys {
		s.Keys[id] = statePublic{Owner: k.owner, Key: x509.MarshalPKCS1PublicKey(k.key), Ends: k.ends}
	}
	for _, text := range slices.Sorted(maps.Keys(d.refreshes)) {
		r := d.refreshes[text]
		s.Refreshes = append(s.Refreshes, stateRefresh{
			Token: text, Subject: r.subject, Client: r.client, Audience: r.audience, Scopes: r.scopes, Authenticated: r.authenticated, Ends: r.ends,
		})
	}
}

func (d *directory) restore(s state) error {
	d.next = max(d.next, s.Next)
	for _, o := range s.Organizations {
		o.Name = cmp.Or(o.Name, o.ID)
		d.organizations[o.ID] = o
	}
	for _, p := range s.Projects {
		d.projects[p.ID] = &p.Project
	}
	for _, a := range s.Applications {
		a.ID, a.Name = cmp.Or(a.ID, a.ClientID), cmp.Or(a.Name, a.ClientID)
		d.applications[a.ClientID] = a
	}
	maps.Copy(d.administrators, s.Administrators)
	for _, id := range s.Gone {
		d.gone[id] = true
	}
	for _, u := range s.Users {
		known := &user{User: u.User, inactive: u.Inactive, locked: u.Locked}
		for _, r := range u.Roles {
			known.roles = append(known.roles, grantedRole{Role: r, authorization: d.id()})
		}
		d.users[u.ID] = known
	}
	for id, k := range s.Keys {
		key, err := x509.ParsePKCS1PublicKey(k.Key)
		if err != nil {
			return fmt.Errorf("key %s: %w", id, err)
		}
		d.keys[id] = &publicKey{owner: k.Owner, key: key, ends: k.Ends}
	}
	for _, r := range s.Refreshes {
		d.refreshes[r.Token] = &refresh{
			subject: r.Subject, client: r.Client, audience: r.Audience, scopes: r.Scopes, authenticated: r.Authenticated, ends: r.Ends,
		}
	}
	return nil
}

func (r *keyring) save(s *state) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.SigningKeys = r.next
	for _, k := range r.all {
		der, err := x509.MarshalPKCS8PrivateKey(k.private)
		if err != nil {
			return fmt.Errorf("signing key %s: %w", k.id, err)
		}
		s.Signing = append(s.Signing, stateSigning{ID: k.id, Algorithm: string(k.algorithm), Key: der})
	}
	return nil
}

func (r *keyring) restore(s state) error {
	if len(s.Signing) == 0 {
		return errors.New("it has no signing key")
	}
	r.next = s.SigningKeys
	for _, k := range s.Signing {
		parsed, err := x509.ParsePKCS8PrivateKey(k.Key)
		if err != nil {
			return fmt.Errorf("signing key %s: %w", k.ID, err)
		}
		private, ok := parsed.(crypto.Signer)
		if !ok {
			return fmt.Errorf("signing key %s cannot sign", k.ID)
		}
		r.all = append(r.all, signingKey{id: k.ID, algorithm: jose.SignatureAlgorithm(k.Algorithm), private: private})
	}
	return nil
}
