package setup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"fleet.nationtech.io/deploy/zitadel"
)

// Options wire a Setup. All are needed.
type Options struct {
	Wanted Wanted
	Client *zitadel.Client
	Dir    string // of the keys
	Now    func() time.Time
}

// Setup looks at a provider, and makes what a fleet lacks there.
type Setup struct {
	Options
	found Found
}

// New wires a Setup. It asks nobody.
func New(o Options) (*Setup, error) {
	if err := o.Wanted.Check(); err != nil {
		return nil, err
	}
	return &Setup{Options: o}, nil
}

// Outcome is what is there after a Setup.
type Outcome struct {
	Steps              []Step `json:"objects"`
	Changed            bool   `json:"changed"`
	DeviceOrganization string `json:"device_organization"`
	PeopleOrganization string `json:"people_organization"`
	Project            string `json:"project"`
	CLIClient          string `json:"cli_client_id"`
	DashboardClient    string `json:"dashboard_client_id,omitempty"`
	DashboardURL       string `json:"dashboard_url,omitempty"`
	CalloutKeyFile     string `json:"callout_key_file"`
	AccountKeyFile     string `json:"enrolment_key_file"`
}

// Look says what would be done, and does nothing.
func (s *Setup) Look(ctx context.Context) (Outcome, error) {
	if err := s.look(ctx); err != nil {
		return Outcome{}, err
	}
	return s.outcome(Plan(s.Wanted, s.found, s.Now())), nil
}

// Carry makes what is not there. Where it is broken off, it goes on the next time.
// tell is told each step that is done, in order.
func (s *Setup) Carry(ctx context.Context, tell func(Step)) (Outcome, error) {
	if err := s.look(ctx); err != nil {
		return Outcome{}, err
	}
	if err := writable(s.Dir); err != nil { // before a key is made that nobody can keep
		return Outcome{}, err
	}
	done := Plan(s.Wanted, s.found, s.Now())
	for i := range done {
		if err := s.perform(ctx, &done[i]); err != nil {
			return s.outcome(done[:i]), err
		}
		tell(done[i])
	}
	return s.outcome(done), nil
}

func (s *Setup) outcome(steps []Step) Outcome {
	o := Outcome{
		Steps: steps, Changed: Changes(steps), DeviceOrganization: s.found.DeviceOrganization, PeopleOrganization: s.found.PeopleOrganization,
		Project: s.found.Project.ID, CalloutKeyFile: filepath.Join(s.Dir, calloutFile), AccountKeyFile: AccountKeyFile(s.Dir),
	}
	cliApp, _ := s.found.application(cli)
	dashboardApp, _ := s.found.application(dashboard)
	o.CLIClient, o.DashboardClient, o.DashboardURL = cliApp.ClientID, dashboardApp.ClientID, dashboardAt(dashboardApp)
	return o
}

func writable(dir string) error {
	const directoryMode = 0o700
	err := os.MkdirAll(dir, directoryMode)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".try-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("keys cannot be kept in %s: %w", dir, err)
	}
	return nil
}

// look finds what is there.
func (s *Setup) look(ctx context.Context) (err error) {
	f := &s.found
	*f = Found{}
	if f.CalloutKey, err = readKeyFile(s.Dir, calloutFile); err != nil {
		return err
	}
	if f.AccountKey, err = readKeyFile(s.Dir, accountFile); err != nil {
		return err
	}
	if f.PeopleOrganization, err = s.people(ctx); err != nil {
		return err
	}
	o, _, err := s.Client.FindOrganization(ctx, s.Wanted.DeviceOrganization)
	if err != nil {
		return err
	}
	if o.ID == f.PeopleOrganization {
		return fmt.Errorf("organization %s is that of the people: devices need one of their own, so that those who manage devices have no power over people", o.Name)
	}
	f.DeviceOrganization = o.ID
	if f.Project, _, err = s.ofPeople().FindProject(ctx, s.Wanted.Project); err != nil {
		return err
	}
	if f.Project.ID != "" {
		if f.Applications, err = s.ofPeople().Applications(ctx, f.Project.ID); err != nil {
			return err
		}
	}
	if f.DeviceOrganization != "" {
		if f.Account, _, err = s.ofDevices().FindMachine(ctx, account); err != nil {
			return err
		}
	}
	if f.Account.ID != "" {
		if f.Administers, err = s.ofDevices().Administers(ctx, f.Account.ID); err != nil {
			return err
		}
	}
	return errors.Join(s.checkKinds(), s.lookAtKeys(ctx))
}

func (s *Setup) people(ctx context.Context) (id string, err error) {
	if s.Wanted.PeopleOrganization == "" {
		o, err := s.Client.DefaultOrganization(ctx)
		return o.ID, err
	}
	o, found, err := s.Client.FindOrganization(ctx, s.Wanted.PeopleOrganization)
	if err == nil && !found {
		err = fmt.Errorf("the provider has no organization %s for people: give the name of one that is there by --people-organization", s.Wanted.PeopleOrganization)
	}
	return o.ID, err
}

// checkKinds refuses names that objects of another kind have.
func (s *Setup) checkKinds() error {
	var all []error
	for _, wanted := range s.Wanted.applications() {
		if there, ok := s.found.application(wanted.Name); ok && (there.OIDC == nil) != (wanted.OIDC == nil) {
			all = append(all, fmt.Errorf("application %s of project %s is of another type: rename it in the provider's console", wanted.Name, s.Wanted.Project))
		}
	}
	if s.found.Account.Standing == zitadel.NotMachine {
		all = append(all, fmt.Errorf("user %s of organization %s is a person: rename that user in the provider's console", account, s.Wanted.DeviceOrganization))
	}
	return errors.Join(all...)
}

func (s *Setup) ofPeople() *zitadel.Client { return s.Client.In(s.found.PeopleOrganization) }

func (s *Setup) ofDevices() *zitadel.Client { return s.Client.In(s.found.DeviceOrganization) }

// lookAtKeys says how the keys of the files stand.
func (s *Setup) lookAtKeys(ctx context.Context) error {
	api, _ := s.found.application(callout)
	return errors.Join(
		s.stands(ctx, &s.found.CalloutKey, api.ClientID, func() ([]zitadel.Key, error) { return s.ofPeople().ApplicationKeys(ctx, s.found.Project.ID, api.ID) }),
		s.stands(ctx, &s.found.AccountKey, s.found.Account.ID, func() ([]zitadel.Key, error) { return s.ofDevices().Keys(ctx, s.found.Account.ID) }),
	)
}

// stands looks for the key of a file among those of its owner. One that was made just
// now may be missing for a while.
func (s *Setup) stands(ctx context.Context, k *KeyFile, owner string, list func() ([]zitadel.Key, error)) error {
	if k.Stands = false; k.ID == "" || owner == "" || k.Owner != owner {
		return nil
	}
	const pause = 500 * time.Millisecond
	for {
		all, err := list()
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(all, func(one zitadel.Key) bool { return one.ID == k.ID }); i >= 0 {
			k.Stands, k.Expires = true, all[i].Expires
			return nil
		}
		if !k.young(s.Now()) {
			return nil
		}
		if err := s.Client.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}
