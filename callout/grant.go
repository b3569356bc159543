package callout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/eventlog"
)

// Level is how much a person or a service may do.
type Level string

// Levels, each more than the one before it.
const (
	Viewer   Level = "viewer"   // reads, in account PEOPLE
	Operator Level = "operator" // asks of fleet-operator and commands devices, in account PEOPLE
	Admin    Level = "admin"    // everything, in account FLEET
)

var levels = []Level{Viewer, Operator, Admin}

// ParseLevel reads a level.
func ParseLevel(s string) (Level, error) {
	if l := Level(s); slices.Contains(levels, l) {
		return l, nil
	}
	return "", fmt.Errorf("level %q must be viewer, operator or admin", s)
}

// Right is what a role of our project may do.
type Right struct {
	Level Level
	// Namespaces limit an operator; empty means all.
	Namespaces []string
}

// Grant is what one login gets.
type Grant struct {
	Actor           string // the user on NATS
	Account         string
	Permissions     Permissions
	ConnectionTypes []string
	Expires         time.Time
}

// Types of connections, as a user's claims name them (nats-io/jwt).
const (
	connectionStandard  = "STANDARD"
	connectionWebsocket = "WEBSOCKET"
)

// GrantedAccounts lists the accounts into which a token can lead. The callout's
// own and the system account are none of them.
func GrantedAccounts() []string {
	return []string{eventlog.AccountDevices, eventlog.AccountPeople, eventlog.AccountFleet}
}

// NewGrant says what an identity may do until its token expires. rights has what
// each role may do. It fails with a *refusal.Error.
func NewGrant(i identity.Identity, rights map[string]Right, expires time.Time) (Grant, error) {
	g := Grant{Actor: i.Actor(), Expires: expires, ConnectionTypes: []string{connectionStandard, connectionWebsocket}}
	switch i.Kind {
	case identity.Device:
		g.Account, g.Permissions = eventlog.AccountDevices, DevicePermissions(i.ID)
	case identity.Person, identity.Service:
		right := highest(i.Roles, rights)
		switch right.Level {
		case Admin:
			g.Account, g.Permissions = eventlog.AccountFleet, AdminPermissions(g.Actor)
		case Operator:
			g.Account, g.Permissions = eventlog.AccountPeople, OperatorPermissions(g.Actor, right.Namespaces...)
		case Viewer:
			g.Account, g.Permissions = eventlog.AccountPeople, ViewerPermissions(g.Actor)
		}
	}
	return g, g.check()
}

// highest gives the highest level of the roles, for the namespaces of all roles of
// that level.
func highest(roles []string, rights map[string]Right) Right {
	var best Right
	for _, name := range roles {
		r, ok := rights[name]
		switch above := slices.Index(levels, r.Level) - slices.Index(levels, best.Level); {
		case !ok || above < 0:
		case above > 0:
			best = Right{Level: r.Level, Namespaces: slices.Clone(r.Namespaces)}
		case len(best.Namespaces) == 0 || len(r.Namespaces) == 0:
			best.Namespaces = nil
		default:
			best.Namespaces = append(best.Namespaces, r.Namespaces...)
		}
	}
	slices.Sort(best.Namespaces)
	best.Namespaces = slices.Compact(best.Namespaces)
	return best
}

// check refuses what a server would read as everything: an empty list of
// permissions permits all subjects.
func (g Grant) check() error {
	if !slices.Contains(GrantedAccounts(), g.Account) {
		return refusal.New(refusal.AccountNotAllowed, "%.80q may log in to none of the accounts %v", g.Actor, GrantedAccounts())
	}
	for what, subjects := range map[string][]string{"publish": g.Permissions.Publish, "subscribe": g.Permissions.Subscribe} {
		if len(subjects) == 0 || slices.Contains(subjects, "") {
			return refusal.New(refusal.EmptyPermissions, "%.80q would have no subject to %s, which a server reads as all subjects", g.Actor, what)
		}
	}
	return nil
}

// Digest says in few letters what was granted, and by which key and roles: whenever
// it changes, the grant is recorded. When a token expires is not part of it.
func (g Grant) Digest(keyID string, roles []string) string {
	b, err := json.Marshal([]any{g.Actor, g.Account, g.Permissions, g.ConnectionTypes, keyID, roles})
	if err != nil {
		panic(err) // strings and numbers can be marshaled
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:12])
}
