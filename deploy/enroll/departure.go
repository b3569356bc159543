package enroll

import (
	"context"
	"errors"
	"fmt"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/deploy/enroll/machine"
)

// The steps of a departure, in their order.
const (
	StepStop       Name = "stop"
	StepContainers Name = "containers"
	StepVolumes    Name = "volumes"
	StepFiles      Name = "files"
	StepFleet      Name = "fleet"
	StepUser       Name = "user"
)

// Departure takes a device off the fleet, and the fleet off the device.
type Departure struct {
	Machine machine.Machine // nil: the device cannot be reached, and stays as it is
	ID      string          // empty: the one in the device's configuration
	Fleet   Fleet
	// Provider gives the provider, where the device has a machine user there; nil: the
	// user is left as it is.
	Provider func(context.Context) (Provider, error)
	// Identity says that the device has a machine user, where the device cannot say it.
	Identity bool
	Forget   bool // the machine user is deleted, and not deactivated
	Volumes  bool // the device's volumes are removed, too
	Reason   string
	DryRun   bool
	Show     func(Step)
	// Confirm asks a person, once it is known what goes; nil: nobody is asked.
	Confirm func(id string, steps []Step) error
}

// departing is a step, and what does it.
type departing struct {
	Step
	do func(context.Context) (detail string, err error)
}

// Run takes the device off. What was broken off goes on when it is run again.
func (d *Departure) Run(ctx context.Context) (Outcome, error) {
	if d.Show == nil {
		d.Show = func(Step) {}
	}
	out := Outcome{Device: d.ID, Machine: "unreachable", DryRun: d.DryRun}
	steps, err := d.plan(ctx, &out)
	if err != nil {
		return out, err
	}
	if d.Confirm != nil && !d.DryRun {
		planned := make([]Step, len(steps))
		for i, s := range steps {
			planned[i] = s.Step
		}
		if err := d.Confirm(d.ID, planned); err != nil {
			return out, err
		}
	}
	for _, s := range steps {
		if s.State == Change && !d.DryRun {
			detail, err := s.do(ctx)
			if err != nil {
				if ctx.Err() != nil {
					return out, context.Cause(ctx)
				}
				s.State, s.Detail = Failed, err.Error()
				out.Steps = append(out.Steps, s.Step)
				d.Show(s.Step)
				return out, failure(s.Name, err, resumeTry)
			}
			if detail != "" {
				s.Detail = detail
			}
		}
		if s.State == Change && d.DryRun {
			s.State = Planned
		}
		out.Steps = append(out.Steps, s.Step)
		d.Show(s.Step)
	}
	return out, nil
}

func (d *Departure) plan(ctx context.Context, out *Outcome) ([]departing, error) {
	var steps []departing
	user := d.ID
	if d.Machine != nil {
		out.Machine = d.Machine.String()
		// A person may have to type a password for sudo, which may take its time.
		_, err := d.Machine.Run(ctx, machine.Command{Script: ":"})
		var r Remains
		if err == nil {
			r, err = Inspect(ctx, d.Machine)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, &Error{Step: "look", Err: err, Try: "for a device that is lost: --unreachable --id ID"}
		}
		switch {
		case d.ID == "" && r.ID == "":
			return nil, &Error{Step: StepID, Err: errors.New("the device has no configuration that names it"), Try: "name it by --id ID"}
		case d.ID != "" && r.ID != "" && r.ID != d.ID:
			return nil, &Error{Step: StepID, Err: fmt.Errorf("this machine is device %s, and not %s", r.ID, d.ID), Try: "--id " + r.ID + ", or the machine that is " + d.ID}
		case d.ID == "":
			d.ID = r.ID
		}
		out.Device = d.ID
		r.Judge(d.ID)
		d.Identity = r.Mode == config.ModeZitadelJWT || r.Mode == "" && d.Identity
		if user = d.ID; r.KeyUser != "" {
			user = r.KeyUser
		}
		steps = d.off(r)
	}
	if d.ID == "" {
		return nil, &Error{Step: StepID, Err: errors.New("a device that cannot be reached must be named"), Try: "--id ID"}
	}
	fleet, err := d.planFleet(ctx)
	if err != nil {
		return nil, err
	}
	steps = append(steps, fleet...)
	provider, err := d.planUser(ctx, user)
	if err != nil {
		return nil, err
	}
	return append(steps, provider...), nil
}

func (d *Departure) planFleet(ctx context.Context) ([]departing, error) {
	if d.Fleet == nil {
		return nil, nil
	}
	st, err := d.Fleet.Standing(ctx, d.ID)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &Error{Step: StepFleet, Err: err}
	case st.Decommissioned:
		return []departing{{Step: ok(StepFleet, "%s is decommissioned already", d.ID)}}, nil
	case !st.Known:
		return []departing{{Step: ok(StepFleet, "the fleet knows no %s", d.ID)}}, nil
	}
	more := ""
	if d.Machine == nil {
		more = "; it is told to remove its containers where it is alive. If it was stolen, cut it off: fleetctl device revoke " + d.ID
	}
	return []departing{{
		change(StepFleet, "%s is decommissioned%s", d.ID, more),
		func(ctx context.Context) (string, error) { return "", d.Fleet.Decommission(ctx, d.ID, d.Reason) },
	}}, nil
}

func (d *Departure) planUser(ctx context.Context, user string) ([]departing, error) {
	switch {
	case !d.Identity:
		return nil, nil
	case d.Provider == nil:
		return []departing{{Step: Step{Name: StepUser, State: Kept, Detail: "user " + user + " and its keys are left as they are at the provider"}}}, nil
	case user != d.ID:
		return []departing{{Step: Step{
			Name: StepUser, State: Kept, Detail: fmt.Sprintf("the device's key is of user %s, not of %s: that user is left as it is", user, d.ID),
			Try: "deactivate it at the provider, where no other device uses it",
		}}}, nil
	}
	p, err := d.Provider(ctx)
	if err == nil {
		var u User
		if u, err = p.LookUp(ctx, user); err == nil {
			return d.planOurUser(p, u, user), nil
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	failed := failure(StepUser, err, "")
	if failed.Try == "" {
		failed.Try = "--keep-user leaves the user as it is"
	} else {
		failed.Try += "; or --keep-user, which leaves the user as it is"
	}
	return nil, failed
}

func (d *Departure) planOurUser(p Provider, u User, user string) []departing {
	switch {
	case u.Standing == UserNone:
		return []departing{{Step: ok(StepUser, "the provider has no user %s", user)}}
	case u.Standing != UserOurs:
		return []departing{{Step: Step{Name: StepUser, State: Kept, Detail: "the user " + user + " at the provider is not a device's: it is left as it is"}}}
	case !u.Active && len(u.Keys) == 0 && !d.Forget:
		return []departing{{Step: ok(StepUser, "%s is deactivated already at the provider, and has no key", user)}}
	}
	s := change(StepUser, "%s removed at the provider, and %s is deactivated", keys(len(u.Keys)), user)
	if d.Forget {
		s = change(StepUser, "%s is deleted at the provider; the id may never be used again there", user)
	}
	return []departing{{s, func(ctx context.Context) (string, error) {
		// What is broken off after the first of these gets no tokens any more.
		if u.Active {
			if err := p.Deactivate(ctx, user); err != nil {
				return "", fmt.Errorf("deactivate %s at the provider: %w", user, err)
			}
		}
		for _, k := range u.Keys {
			if err := p.RemoveKey(ctx, user, k.ID); err != nil {
				return "", fmt.Errorf("remove key %s of %s at the provider: %w", k.ID, user, err)
			}
		}
		if d.Forget {
			return "", p.Delete(ctx, user)
		}
		return "", nil
	}}}
}

// keys says that keys are removed.
func keys(n int) string {
	switch n {
	case 0:
		return "no key is"
	case 1:
		return "1 key is"
	}
	return fmt.Sprintf("%d keys are", n)
}
