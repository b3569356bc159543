// Package login gets tokens for a person or a service from the fleet's OpenID
// provider, keeps them in a file that is theirs alone, and has one at hand.
package login

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/eventlog"
)

// Account is who logs in, and where.
type Account struct {
	Context  string // its name: a person's logins in two contexts may be two accounts
	Issuer   string
	Project  string // the fleet's at the provider
	ClientID string // of fleetctl's application there, for persons
	KeyFile  string // of a machine user, for services
	CAFile   string // PEM, trusted for the provider beside the system's CAs
}

// Tokens are what a login gave.
type Tokens struct {
	Issuer  string    `json:"issuer"`
	Project string    `json:"project"`
	Access  string    `json:"access_token"`
	Refresh string    `json:"refresh_token,omitempty"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Name    string    `json:"name,omitempty"` // of the person, for people
}

// maxMargin is how long before its end a token is renewed at the latest; a shorter
// life has a fifth of it.
const maxMargin = 5 * time.Minute

// renewAt is when the next token is asked for.
func (t Tokens) renewAt() time.Time {
	return t.Expires.Add(-min(maxMargin, t.Expires.Sub(t.Issued)/5))
}

// fresh says that there is no need to renew yet.
func (t Tokens) fresh(now time.Time) bool { return t.Access != "" && now.Before(t.renewAt()) }

// holds says that servers take it still.
func (t Tokens) holds(now time.Time) bool { return t.Access != "" && now.Before(t.Expires) }

// Claims are what a token says of its bearer. They are not proven to who reads them
// here.
type Claims struct {
	Subject string
	Roles   []string // of the fleet's project
	Expires time.Time
}

// Claims reads the access token. ok is false where it is opaque.
func (t Tokens) Claims() (c Claims, ok bool) {
	all, ok := openid.ReadClaims(t.Access)
	if !ok {
		return Claims{}, false
	}
	c.Subject, _ = all["sub"].(string)
	c.Expires, _ = openid.Moment(all["exp"])
	roles, found := all["urn:zitadel:iam:org:project:"+t.Project+":roles"].(map[string]any)
	if !found {
		roles, _ = all["urn:zitadel:iam:org:project:roles"].(map[string]any)
	}
	c.Roles = slices.Sorted(maps.Keys(roles))
	return c, true
}

// servicePrefix begins the names of the roles that make a service, unless the
// callout is told otherwise.
const servicePrefix = "service-"

// Actors are the users that the token may make on NATS, the likeliest first: which
// role makes a person and which a service, the callout knows alone.
func (t Tokens) Actors() []string {
	c, _ := t.Claims()
	as := func(k identity.Kind) string { return identity.Identity{Kind: k, ID: c.Subject}.Actor() }
	person, service, device := as(identity.Person), as(identity.Service), as(identity.Device)
	switch {
	case slices.ContainsFunc(c.Roles, func(r string) bool { return strings.HasPrefix(r, servicePrefix) }):
		return []string{service, person}
	case len(c.Roles) == 0 || slices.Contains(c.Roles, "device"):
		return []string{device, person, service}
	}
	return []string{person, service}
}

// WhyRefused looks in the token for reasons why NATS would not take it, each with
// what to do. NATS itself never tells a client why.
func (t Tokens) WhyRefused(now time.Time) []string {
	c, ok := t.Claims()
	if !ok {
		return []string{"the token is opaque, and the fleet reads JWTs: set the token type of fleetctl's application (or of the machine user) to JWT at the provider"}
	}
	var why []string
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	all, _ := openid.ReadClaims(t.Access)
	if !slices.Contains(openid.Texts(all["aud"]), t.Project) {
		say("the token is not for project %s (aud is %.200q): correct --project", t.Project, openid.Texts(all["aud"]))
	}
	if len(c.Roles) == 0 {
		say("the token carries no role of project %s: ask who manages the provider to grant you viewer, operator or admin, then log in again", t.Project)
	}
	if !c.Expires.After(now) {
		say("the token ended at %s: set this machine's clock", c.Expires.UTC().Format(time.RFC3339))
	}
	if len(t.Access) > eventlog.MaxTokenBytes {
		say("the token has %d bytes, and NATS takes %d: fewer roles or shorter metadata make it shorter", len(t.Access), eventlog.MaxTokenBytes)
	}
	return why
}

// ErrLoggedOut says that no login is cached.
var ErrLoggedOut = errors.New("fleetctl is not logged in")

// ErrEnded says that the provider takes the cached login no more.
var ErrEnded = errors.New("the login ended")
