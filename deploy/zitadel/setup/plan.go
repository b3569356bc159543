package setup

import (
	"slices"
	"time"

	"fleet.nationtech.io/deploy/zitadel"
)

// Kind is what a step is about.
type Kind string

// Kinds.
const (
	Organization   Kind = "organization"
	Project        Kind = "project"
	Role           Kind = "role"
	Application    Kind = "application"
	Account        Kind = "account"
	Administrator  Kind = "administrator"
	ApplicationKey Kind = "application key"
	AccountKey     Kind = "account key"
)

// Action is what a step does.
type Action string

// Actions.
const (
	Keep   Action = "there"
	Make   Action = "made"
	Change Action = "changed"
)

// Step is what is done for one object.
type Step struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Action Action `json:"action"`
	Why    string `json:"why,omitempty"`
	ID     string `json:"id,omitempty"`
}

// Found is what is at the provider, and in the directory of the keys. The zero value
// of each is what is not there.
type Found struct {
	DeviceOrganization string // id
	PeopleOrganization string // id
	Project            zitadel.Project
	Applications       []zitadel.Application
	Account            zitadel.User
	Administers        []string // roles of the account in the organization of the devices
	CalloutKey         KeyFile
	AccountKey         KeyFile
}

// application finds one by its name.
func (f Found) application(name string) (zitadel.Application, bool) {
	i := slices.IndexFunc(f.Applications, func(a zitadel.Application) bool { return a.Name == name })
	if i < 0 {
		return zitadel.Application{}, false
	}
	return f.Applications[i], true
}

// Plan says for each object that is wanted whether it stays as it is. Order counts:
// what comes later is in what comes before.
func Plan(w Wanted, f Found, now time.Time) []Step {
	var all []Step
	add := func(kind Kind, name, id string, why ...string) {
		s := Step{Kind: kind, Name: name, ID: id, Action: Keep}
		switch {
		case id == "":
			s.Action = Make
		case len(why) > 0:
			s.Action, s.Why = Change, why[0]
		}
		all = append(all, s)
	}
	add(Organization, w.DeviceOrganization, f.DeviceOrganization)
	if f.Project.ID != "" && !f.Project.RoleAssertion {
		add(Project, w.Project, f.Project.ID, "it did not put roles into tokens")
	} else {
		add(Project, w.Project, f.Project.ID)
	}
	for _, r := range roles() {
		id := ""
		if slices.Contains(f.Project.Roles, r.key) {
			id = r.key
		}
		add(Role, r.key, id)
	}
	for _, wanted := range w.applications() {
		switch there, _ := f.application(wanted.Name); {
		case there.ID != "" && !beside(wanted, there).OIDC.Same(there.OIDC):
			add(Application, wanted.Name, there.ID, differs(wanted, there))
		default:
			add(Application, wanted.Name, there.ID)
		}
	}
	switch u := f.Account; {
	case u.ID != "" && u.State != zitadel.Active:
		add(Account, account, u.ID, "it was not active")
	case u.ID != "" && !u.JWT:
		add(Account, account, u.ID, "its tokens were opaque")
	default:
		add(Account, account, u.ID)
	}
	administers := ""
	if slices.Contains(f.Administers, zitadel.UserManager) {
		administers = f.Account.ID
	}
	add(Administrator, account, administers)
	for _, k := range []struct {
		kind Kind
		file KeyFile
	}{{ApplicationKey, f.CalloutKey}, {AccountKey, f.AccountKey}} {
		all = append(all, k.file.step(k.kind, now))
	}
	return all
}

// Changes says whether any step does something.
func Changes(steps []Step) bool {
	return slices.ContainsFunc(steps, func(s Step) bool { return s.Action != Keep })
}
