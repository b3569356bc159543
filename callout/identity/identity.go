// Package identity decides who the bearer of a genuine token is: a device, a person
// or a service, and by which name. It is pure, and fails closed.
package identity

import (
	"slices"
	"strings"

	"fleet.nationtech.io/callout/claims"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/eventlog"
)

// Kind is what an identity is.
type Kind string

// Kinds.
const (
	Device  Kind = "device"
	Person  Kind = "person"
	Service Kind = "service"
)

// Identity is who logs in.
type Identity struct {
	Kind Kind
	// ID is the device's id, or the subject of a person's or service's token.
	ID string
	// Roles are those of a person or service that count, sorted.
	Roles []string
	// Label is a readable name, to be shown beside the actor and never compared.
	Label string
}

// Actor is the identity's user name on NATS: device-<id>, person-<sub> or
// service-<sub>.
func (i Identity) Actor() string { return string(i.Kind) + "-" + i.ID }

// Subject is what stands for the identity in the families auth and access.
func (i Identity) Subject() string {
	if i.Kind == Device {
		return i.ID
	}
	return eventlog.AuthSubjectOfActor(i.Actor())
}

// Role is what a role of our project makes of its bearer.
type Role struct {
	Name string
	Kind Kind // Person or Service
}

// Rules say which tokens are whose.
type Rules struct {
	// DeviceOrganization owns the machine users of devices.
	DeviceOrganization string
	// DeviceRole, granted by DeviceOrganization, makes a device too.
	DeviceRole string
	// Organizations may grant roles to persons and services.
	Organizations []string
	Roles         []Role
	// DeviceID is where a device's id stands.
	DeviceID Source
}

// Of says whose token it is. It fails with a *refusal.Error.
func (r Rules) Of(c claims.Claims) (Identity, error) {
	roles, kinds := r.granted(c)
	device := r.DeviceOrganization != "" &&
		(c.Organization == r.DeviceOrganization || r.DeviceRole != "" && c.Granted(r.DeviceRole, []string{r.DeviceOrganization}))
	switch {
	case device && len(kinds) > 0:
		return Identity{}, refusal.New(refusal.TwoKinds, "the token is a device's, and carries the role %q of a %s: take one of both from the user", roles[0], kinds[0])
	case len(kinds) > 1:
		return Identity{}, refusal.New(refusal.TwoKinds, "the token carries roles of a person and of a service: %q", roles)
	case device:
		return r.device(c)
	case len(kinds) == 0:
		return Identity{}, refusal.New(refusal.NoRole,
			"the user belongs to organization %.80q, which is not that of the devices, and has no role of this fleet that a configured organization granted", c.Organization)
	}
	i := Identity{Kind: kinds[0], ID: c.Subject, Roles: roles, Label: c.Name}
	if !eventlog.IsTokenSubject(c.Subject) {
		return Identity{}, refusal.New(refusal.BadName, "the subject %.80q of a %s must have at most 63 letters, digits, '-' and '_', as it becomes part of NATS subjects", c.Subject, i.Kind)
	}
	return i, nil
}

// granted gives the roles of the token that count, and the kinds that they make.
func (r Rules) granted(c claims.Claims) (roles []string, kinds []Kind) {
	for _, role := range r.Roles {
		if !c.Granted(role.Name, r.Organizations) {
			continue
		}
		roles = append(roles, role.Name)
		if !slices.Contains(kinds, role.Kind) {
			kinds = append(kinds, role.Kind)
		}
	}
	slices.Sort(roles)
	return roles, kinds
}

func (r Rules) device(c claims.Claims) (Identity, error) {
	id, err := r.DeviceID.read(c)
	if err != nil {
		return Identity{}, err
	}
	if err := eventlog.CheckName("device id", id); err != nil {
		return Identity{}, refusal.New(refusal.BadName, "%.300s", strings.TrimSpace(err.Error()))
	}
	return Identity{Kind: Device, ID: id}, nil
}
