package setup

import (
	"context"
	"fmt"
	"slices"

	"fleet.nationtech.io/deploy/zitadel"
)

// perform does one step, and notes in it what came of it: what a search did not show
// may be there all the same.
func (s *Setup) perform(ctx context.Context, step *Step) error {
	if step.Action == Keep {
		return nil
	}
	var made bool
	var err error
	switch step.Kind {
	case Organization:
		s.found.DeviceOrganization, made, err = s.Client.EnsureOrganization(ctx, step.Name)
		step.ID = s.found.DeviceOrganization
	case Project:
		made, err = s.project(ctx, step)
	case Role:
		made, err = s.role(ctx, step)
	case Application:
		made, err = s.application(ctx, step)
	case Account:
		s.found.Account.ID, made, err = s.ofDevices().EnsureMachine(ctx, account, "makes the users of devices and their keys (fleetctl enroll)")
		step.ID = s.found.Account.ID
	case Administrator:
		made, err = s.ofDevices().EnsureAdministers(ctx, s.found.Account.ID, zitadel.UserManager)
		step.ID = s.found.Account.ID
	case ApplicationKey, AccountKey:
		made, err = s.key(ctx, step)
	}
	if step.Action == Make && !made {
		step.Action, step.Why = Keep, ""
	}
	return err
}

func (s *Setup) project(ctx context.Context, step *Step) (made bool, err error) {
	if step.Action == Make {
		s.found.Project, made, err = s.ofPeople().EnsureProject(ctx, step.Name)
		step.ID = s.found.Project.ID
	}
	if err == nil && !s.found.Project.RoleAssertion {
		err = s.ofPeople().AssertRoles(ctx, s.found.Project)
	}
	return made, err
}

func (s *Setup) role(ctx context.Context, step *Step) (made bool, err error) {
	step.ID = step.Name
	for _, r := range roles() {
		if r.key == step.Name {
			return s.ofPeople().EnsureRole(ctx, s.found.Project.ID, r.key, r.displayName)
		}
	}
	return false, nil
}

func (s *Setup) application(ctx context.Context, step *Step) (made bool, err error) {
	for _, wanted := range s.Wanted.applications() {
		if wanted.Name != step.Name {
			continue
		}
		there, found := s.found.application(wanted.Name)
		if !found {
			if there, made, err = s.ofPeople().EnsureApplication(ctx, s.found.Project.ID, wanted); err != nil {
				return false, err
			}
			s.found.Applications = append(s.found.Applications, there)
			if err := s.checkKinds(); err != nil {
				return false, err
			}
		}
		step.ID = there.ID
		wanted = beside(wanted, there)
		if wanted.OIDC.Same(there.OIDC) {
			return made, nil
		}
		if step.Action == Make {
			step.Action, step.Why = Change, differs(wanted, there)
		}
		wanted.ID, wanted.ClientID = there.ID, there.ClientID
		if err := s.ofPeople().Configure(ctx, s.found.Project.ID, wanted); err != nil {
			return made, err
		}
		i := slices.IndexFunc(s.found.Applications, func(a zitadel.Application) bool { return a.ID == wanted.ID })
		s.found.Applications[i] = wanted
		return made, nil
	}
	return false, nil
}

// key makes a key and keeps its file, unless the one that is there stands after all.
func (s *Setup) key(ctx context.Context, step *Step) (made bool, err error) {
	file := &s.found.CalloutKey
	if step.Kind == AccountKey {
		file = &s.found.AccountKey
	}
	if !file.Stands {
		if err := s.lookAtKeys(ctx); err != nil {
			return false, err
		}
	}
	if again := file.step(step.Kind, s.Now()); again.Action == Keep {
		step.ID = again.ID
		return false, nil
	}
	expires := s.Now().Add(s.Wanted.KeyLife)
	var text []byte
	if step.Kind == AccountKey {
		step.ID, text, err = s.ofDevices().MakeKey(ctx, s.found.Account.ID, expires)
	} else {
		api, _ := s.found.application(callout)
		step.ID, text, err = s.ofPeople().MakeApplicationKey(ctx, s.found.Project.ID, api.ID, expires)
	}
	if err != nil {
		return false, err
	}
	if err := writeKeyFile(s.Dir, file.Name, text); err != nil {
		return false, fmt.Errorf("%w (key %s is at the provider, and nobody has it: remove it there)", err, step.ID)
	}
	return true, nil
}
