package enroll

import (
	"context"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/agent/config"
)

// Provider is where the machine users of devices are, and their keys.
type Provider interface {
	// LookUp says whose an id is.
	LookUp(ctx context.Context, id string) (User, error)
	// EnsureDevice makes the machine user, or makes an inactive one active.
	EnsureDevice(ctx context.Context, id, description string) error
	AddKey(ctx context.Context, id string, publicPEM []byte, expires time.Time) (keyID string, err error)
	RemoveKey(ctx context.Context, id, keyID string) error
	Deactivate(ctx context.Context, id string) error
	Delete(ctx context.Context, id string) error
}

// User is what the provider knows of an id.
type User struct {
	Standing UserStanding
	Active   bool
	JWT      bool // its tokens are JWTs
	Keys     []UserKey
}

// UserKey is a public key of a machine user.
type UserKey struct {
	ID      string
	Expires time.Time
}

// UserStanding is whose an id is.
type UserStanding string

// Standings of an id at the provider.
const (
	UserNone   UserStanding = "none"               // there is no such user
	UserOurs   UserStanding = "ours"               // a machine user of the devices' organization
	UserOthers UserStanding = "other-organization" // a user of another organization has the id
	UserPerson UserStanding = "person"             // it is not a machine user
)

// Fleet is the fleet as a person sees it.
type Fleet interface {
	Standing(ctx context.Context, id string) (FleetDevice, error)
	// Ping asks the device whether it is there, and gives each answer: two machines may
	// have one id.
	Ping(ctx context.Context, id string) ([]Pong, error)
	// Decommission takes the device out of the fleet. A device that is out, or was
	// never in, is no error.
	Decommission(ctx context.Context, id, reason string) error
}

// Pong is the answer to a ping.
type Pong struct {
	Version    string // of the agent
	Invocation string // systemd's id of the agent's run; empty: the agent does not say it
}

// FleetDevice is what the log says of a device.
type FleetDevice struct {
	Known          bool // it reported itself
	Decommissioned bool
	Revoked        string // the reason; empty: its access is not revoked
}

// elsewhere says whether somebody answers who is not this very machine: whose agent does
// not run here under this id.
func elsewhere(f Facts, w Wish, k Known) bool {
	for _, p := range k.Pongs {
		if !here(f, w, k, p) {
			return true
		}
	}
	return false
}

func here(f Facts, w Wish, k Known, p Pong) bool {
	c, err := config.Parse(f.Config)
	if err != nil || c.DeviceID != w.ID || f.Service["ActiveState"] != "active" {
		return false
	}
	if p.Invocation != "" && f.Service["InvocationID"] != "" {
		return p.Invocation == f.Service["InvocationID"]
	}
	if w.Auth.Flavour == Zitadel && k.User != nil {
		return f.KeyID == "" || k.User.has(f.KeyID)
	}
	return true
}

// was says whether this machine has had the id: its agent may not run.
func was(f Facts, w Wish) bool {
	c, _ := config.Parse(f.Config) // a configuration that is not valid may name the device all the same
	return c.DeviceID == w.ID || f.KeyUser == w.ID
}

func (u User) has(key string) bool {
	return slices.ContainsFunc(u.Keys, func(k UserKey) bool { return k.ID == key })
}

// planID judges whether the device may have its id.
func planID(f Facts, w Wish, k Known) Step {
	if d := k.Device; d != nil {
		switch {
		case d.Decommissioned:
			return refuse(StepID, "fleetctl device allow "+w.ID, "%s was decommissioned, and what it reports is ignored", w.ID)
		case d.Revoked != "":
			return refuse(StepID, "fleetctl device allow "+w.ID, "the access of %s is revoked (%s)", w.ID, d.Revoked)
		}
	}
	alive := elsewhere(f, w, k)
	u := k.User
	switch {
	case u != nil && u.Standing == UserOthers:
		return refuse(StepID, "choose another id by --id: ids are unique in the whole instance of the provider", "a user of another organization has the id %s", w.ID)
	case u != nil && u.Standing == UserPerson:
		return refuse(StepID, "choose another id by --id", "the id %s is a person's at the provider, not a machine user's", w.ID)
	case alive && !w.Replace:
		return refuse(StepID, "choose another id by --id; or --replace, where this machine takes the place of that one", "%s is alive on another machine", w.ID)
	case k.Device != nil && k.Device.Known && len(k.Pongs) == 0 && !was(f, w) && !w.Replace:
		return refuse(StepID, "--replace, where this machine takes its place: it was set up again, or the other one is gone; or choose another id by --id",
			"%s is a device of the fleet that does not answer now, and this machine does not have its configuration", w.ID)
	case alive:
		return ok(StepID, "%s is taken from the machine that has it", w.ID)
	case u == nil:
		return ok(StepID, "%s", w.ID)
	case u.Standing == UserNone:
		return change(StepID, "%s is made at the provider", w.ID)
	case k.Device == nil && u.Active && len(u.Keys) > 0 && !u.has(f.KeyID) && !f.KeyPending && !w.Replace:
		return refuse(StepID, "leave --wait as it is, so that the fleet is asked whether that device is alive; or --replace, where this machine takes its place",
			"%s has keys at the provider that this machine has not, and the fleet is not asked who uses them", w.ID)
	case !u.Active:
		return change(StepID, "%s is reactivated at the provider", w.ID)
	case !u.JWT:
		return change(StepID, "the tokens of %s become JWTs at the provider", w.ID)
	case f.KeyID != "" && u.has(f.KeyID):
		return ok(StepID, "%s", w.ID)
	}
	return ok(StepID, "%s is there at the provider, and no machine answers by it: this one goes on with it", w.ID)
}

// renewBefore is how long before its end an enrolment replaces a key.
const renewBefore = 30 * 24 * time.Hour

func planKey(f Facts, w Wish, k Known) Step {
	private := strings.HasPrefix(f.KeyMode, "-rw------- ") && strings.HasSuffix(f.KeyMode, " 0")
	if w.Auth.Flavour == ZitadelJWT {
		detail := ""
		if w.Auth.Key.UserID != w.ID {
			detail = "; it is of user " + w.Auth.Key.UserID + ", so the callout must know the device by another claim than sub"
		}
		switch {
		case f.KeyID != "" && f.KeyID != w.Auth.Key.ID && f.KeyUser == w.Auth.Key.UserID && !w.OverwriteKey:
			return Step{Name: StepKey, State: Kept, Detail: f.KeyID + " is of the same user, and may come of a rotation: it is kept (--overwrite-key replaces it by " + w.Auth.Key.ID + ")"}
		case f.KeyID == w.Auth.Key.ID && f.KeyUser == w.Auth.Key.UserID && private:
			return ok(StepKey, "%s%s", f.KeyID, detail)
		case f.KeyID != "":
			return change(StepKey, "%s takes the place of %s%s", w.Auth.Key.ID, f.KeyID, detail)
		}
		return change(StepKey, "%s is copied to the device%s", w.Auth.Key.ID, detail)
	}
	known := k.User != nil && k.User.has(f.KeyID)
	switch {
	case f.KeyID == "" && f.KeyPending:
		return change(StepKey, "the key that the device made is registered at the provider")
	case f.KeyID == "":
		return change(StepKey, "the device makes a key and keeps it; the provider gets the public half")
	case f.KeyUser != w.ID:
		return change(StepKey, "the device makes a key; the one that is there is of user %s", f.KeyUser)
	case !known:
		return change(StepKey, "the device makes a key; the provider does not know key %s", f.KeyID)
	case !f.KeyExpires.IsZero() && f.KeyExpires.Before(k.Now.Add(renewBefore)):
		return change(StepKey, "the device makes a key; %s ends on %s", f.KeyID, f.KeyExpires.Format(time.DateOnly))
	case !private:
		return change(StepKey, "%s becomes root's alone (0600)", config.DefaultKeyFile)
	case f.KeyExpires.IsZero():
		return ok(StepKey, "%s", f.KeyID)
	}
	return ok(StepKey, "%s, until %s", f.KeyID, f.KeyExpires.Format(time.DateOnly))
}
