// Package accounts is the one source of the NATS servers' configuration: the
// accounts that keep devices away from the log, what crosses between them, and
// the users with their permissions. fleet-dev runs it in process, the manifests
// carry it as text.
package accounts

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/eventlog"
)

// The accounts.
const (
	Fleet   = eventlog.AccountFleet   // the log, the buckets, the operator, the callout, admins
	Devices = eventlog.AccountDevices // devices: no JetStream at all
	People  = eventlog.AccountPeople  // viewers and operators: no JetStream, no consumers
	Auth    = eventlog.AccountAuth    // the auth callout
	System  = eventlog.AccountSystem  // the servers' own account
)

// allAccounts lists the accounts in the order in which they are written.
func allAccounts() []string { return []string{Fleet, Devices, People, Auth, System} }

// Login is a user of the bus with its password.
type Login struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// Person is somebody who works with the fleet by fleetctl or any NATS client.
type Person struct {
	Login
	// Level says what the person may do: empty for a viewer. Viewers and operators live
	// in account PEOPLE, an admin in account FLEET.
	Level callout.Level `json:"level,omitempty"`
	// Developer makes an admin one who may also write any event.
	Developer bool `json:"developer,omitempty"`
}

// rights is the account that a person lives in, and what the person may do there.
func (p Person) rights() (account string, may callout.Permissions, err error) {
	switch {
	case p.Developer && (p.Level == "" || p.Level == callout.Admin):
		return Fleet, callout.DeveloperPermissions(p.User), nil
	case p.Developer:
		return "", may, fmt.Errorf("person %s is a developer, and level %q is not: a developer is an admin", p.User, p.Level)
	case p.Level == callout.Admin:
		return Fleet, callout.AdminPermissions(p.User), nil
	case p.Level == callout.Operator:
		return People, callout.OperatorPermissions(p.User), nil
	case p.Level == callout.Viewer, p.Level == "":
		return People, callout.ViewerPermissions(p.User), nil
	}
	return "", may, fmt.Errorf("person %s has level %q, which must be %s, %s or %s", p.User, p.Level, callout.Viewer, callout.Operator, callout.Admin)
}

// Device is a device's login. Its user is DeviceUser or LegacyUser of its id.
type Device struct {
	ID       string `json:"id"`
	Password string `json:"password"`
}

// Users is everybody who may connect. Fields left empty make no user.
type Users struct {
	Operator Login    `json:"operator"`
	System   Login    `json:"system"`
	People   []Person `json:"people"`
	Devices  []Device `json:"devices"`
	// Lab is one user that all devices of a lab share: they can speak for each
	// other.
	Lab Login `json:"lab"`
	// Legacy are older agents that know the KV API alone, admitted one by one
	// into account FLEET. callout.LegacyPermissions says in what they are weaker.
	Legacy []Device `json:"legacy,omitempty"`
	// Callout has everybody else judged by the auth callout; nil refuses them.
	Callout *Callout `json:"callout,omitempty"`
}

// DeviceUser is the user of a device in account DEVICES.
func DeviceUser(device string) string { return "device-" + device }

// LegacyUser is the user of an older agent in account FLEET.
func LegacyUser(device string) string { return "legacy-" + device }

// user is a login with the account and permissions it gets; nil permissions
// permit everything in the account.
type user struct {
	Login
	permissions *callout.Permissions
}

// list gives each account's users. It fails on a name that cannot be one token
// of a subject, on one given twice and on an empty password.
func (u Users) list() (map[string][]user, error) {
	all := map[string][]user{}
	seen := map[string]bool{}
	var errs []error
	add := func(account, what, name string, l Login, p *callout.Permissions) {
		if err := eventlog.CheckName(what, name); err != nil {
			errs = append(errs, err)
		}
		if what != "device" && isIdentity(l.User) {
			errs = append(errs, fmt.Errorf("%s %s begins as the users that tokens make: device-, person- and service- are theirs", what, l.User))
		}
		if l.Password == "" {
			errs = append(errs, fmt.Errorf("%s %s has no password", what, name))
		}
		if seen[l.User] {
			errs = append(errs, fmt.Errorf("user %s is there twice", l.User))
		}
		seen[l.User] = true
		all[account] = append(all[account], user{l, p})
	}
	if c := u.Callout; c != nil {
		errs = append(errs, c.check())
		answers, reads, ends := callout.AnswerPermissions(), callout.LogPermissions(), callout.SystemPermissions()
		add(Auth, "callout's user", c.Answers.User, c.Answers, &answers)
		add(Fleet, "callout's user", c.Log.User, c.Log, &reads)
		add(System, "callout's user", c.System.User, c.System, &ends)
	}
	if u.Operator.User != "" {
		add(Fleet, "operator", u.Operator.User, u.Operator, nil)
	}
	if u.System.User != "" {
		add(System, "system user", u.System.User, u.System, nil)
	}
	for _, p := range u.People {
		account, may, err := p.rights()
		errs = append(errs, err)
		add(account, "person", p.User, p.Login, &may)
	}
	for _, d := range u.Devices {
		may := callout.DevicePermissions(d.ID)
		add(Devices, "device", d.ID, Login{DeviceUser(d.ID), d.Password}, &may)
	}
	if u.Lab.User != "" {
		may := callout.LabPermissions()
		add(Devices, "lab user", u.Lab.User, u.Lab, &may)
	}
	for _, d := range u.Legacy {
		may := callout.LegacyPermissions(d.ID)
		add(Fleet, "older agent", d.ID, Login{LegacyUser(d.ID), d.Password}, &may)
	}
	return all, errors.Join(errs...)
}

// Parse reads a rendered configuration as the server does, for running one in
// process.
func Parse(text []byte) (*server.Options, error) {
	o := &server.Options{}
	if err := o.ProcessConfigString(string(text)); err != nil {
		return nil, fmt.Errorf("NATS configuration: %w", err)
	}
	return o, nil
}
