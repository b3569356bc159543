// Package enroll makes a blank device a device of the fleet, and takes it off again: it
// looks at what there is, plans what differs from the wish, and does that step by step.
package enroll

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/enroll/unit"
)

// Enrolment is the enrolment of one device.
type Enrolment struct {
	Machine  machine.Machine
	Wish     Wish
	Binaries *Binaries
	Packages *Packages // nil: none is installed
	Provider Provider  // nil where the flavour needs none
	Fleet    Fleet     // nil: whether the device is in is not asked of the fleet
	DryRun   bool

	// Show is told of each step when it is known, and again when it was done.
	Show func(Step)
	// Wait is how long the device may take until it is in.
	Wait time.Duration
	Now  func() time.Time
	// Spread gives a number from 0 to 1, by which the ends of keys are spread.
	Spread func() float64
}

// Outcome is what came of an enrolment.
type Outcome struct {
	Device  string `json:"device"`
	Machine string `json:"machine"`
	DryRun  bool   `json:"dry_run,omitempty"`
	Steps   []Step `json:"steps"`
}

// Changed names the steps that changed something.
func (o Outcome) Changed() []Name {
	var all []Name
	for _, s := range o.Steps {
		if s.State == Change {
			all = append(all, s.Name)
		}
	}
	return all
}

// Error is why an enrolment did not work, and what to do about it.
type Error struct {
	Step Name
	Err  error
	Try  string
}

func (e *Error) Error() string { return string(e.Step) + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// failure is the error of a step. What err itself says to do comes before try.
func failure(step Name, err error, try string) *Error {
	var with interface{ Remedy() string }
	if errors.As(err, &with) && with.Remedy() != "" {
		try = with.Remedy()
	}
	return &Error{Step: step, Err: err, Try: try}
}

// DefaultWait is how long a device may take until it is in: the provider may show a new
// key after some seconds only, and the agent asks again for a minute.
const DefaultWait = 90 * time.Second

// resumeTry is what to do about what was broken off.
const resumeTry = "once that is mended, run the same command again: it goes on where it stopped"

// Run enrols the device. An error is an *Error, or the end of the context. What was
// done is in the outcome in any case.
func (e *Enrolment) Run(ctx context.Context) (Outcome, error) {
	e.defaults()
	out := Outcome{Device: e.Wish.ID, Machine: e.Machine.String(), DryRun: e.DryRun}
	// A person may have to type a password for sudo, which may take its time.
	if _, err := e.Machine.Run(ctx, machine.Command{Script: ":"}); err != nil {
		return out, e.fail(ctx, "look", err, "")
	}
	f, err := Probe(ctx, e.Machine, e.Wish.Servers(), e.Now)
	if err != nil {
		return out, e.fail(ctx, "look", err, "")
	}
	e.Wish = e.Wish.onTop(f)
	k, err := e.known(ctx, f)
	if err != nil {
		return out, err
	}
	plan := NewPlan(f, e.Wish, k)
	if refusals := plan.Refusals(); len(refusals) > 0 || e.DryRun {
		for _, s := range plan.Steps {
			if s.State == Change {
				if !e.DryRun {
					continue // it was not done
				}
				s.State = Planned
			}
			out.Steps = append(out.Steps, s)
			e.Show(s)
		}
		return out, e.refused(ctx, f, refusals)
	}
	return e.carryOut(ctx, out, plan, f, k)
}

func (e *Enrolment) defaults() {
	if e.Show == nil {
		e.Show = func(Step) {}
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Spread == nil {
		e.Spread = rand.Float64
	}
	if e.Wait <= 0 {
		e.Wait = DefaultWait
	}
}

// known asks what has to be known beside the device.
func (e *Enrolment) known(ctx context.Context, f Facts) (Known, error) {
	k := Known{Now: e.Now()}
	if arch := f.Arch(); arch != "" {
		k.Binary, k.NoBin = e.Binaries.For(arch)
		k.Package, k.NoPackage = e.Packages.For(f)
	}
	if e.Fleet != nil {
		d, err := e.Fleet.Standing(ctx, e.Wish.ID)
		if err != nil {
			return k, e.fail(ctx, StepID, fmt.Errorf("ask the fleet about %s: %w", e.Wish.ID, err), "")
		}
		k.Device = &d
		k.Pongs, err = e.Fleet.Ping(ctx, e.Wish.ID)
		if err != nil {
			return k, e.fail(ctx, StepID, fmt.Errorf("ask whether %s is alive: %w", e.Wish.ID, err), "")
		}
	}
	if e.Wish.Auth.Flavour == Zitadel {
		u, err := e.lookUp(ctx, f.KeyID)
		if err != nil {
			return k, e.fail(ctx, StepID, fmt.Errorf("ask the provider about %s: %w", e.Wish.ID, err), "")
		}
		k.User = &u
	}
	return k, nil
}

const (
	settlePause = time.Second
	settleTries = 8
)

// lookUp asks the provider about the device. A key that was registered just now may be
// missing in the first answers.
func (e *Enrolment) lookUp(ctx context.Context, key string) (User, error) {
	for try := 1; ; try++ {
		u, err := e.Provider.LookUp(ctx, e.Wish.ID)
		if err != nil || key == "" || u.Standing != UserOurs || u.has(key) || try == settleTries {
			return u, err
		}
		select {
		case <-ctx.Done():
			return u, context.Cause(ctx)
		case <-time.After(settlePause):
		}
	}
}

// refused gives the error of a plan that cannot be done, and leaves it in the device's
// journal, where systemd keeps one.
func (e *Enrolment) refused(ctx context.Context, f Facts, refusals []Step) error {
	if len(refusals) == 0 {
		return nil
	}
	var said, tries []string
	for _, s := range refusals {
		said = append(said, s.Detail)
		if s.Try != "" && !slices.Contains(tries, s.Try) {
			tries = append(tries, s.Try)
		}
	}
	err := &Error{Step: refusals[0].Name, Err: errors.New(strings.Join(said, "; ")), Try: strings.Join(tries, "; ")}
	if f.Systemd != "" {
		e.tell(ctx, err)
	}
	return err
}

// action does one step that the plan says changes something. What it returns takes the
// place of the plan's detail where it is not empty.
type action func(ctx context.Context) (detail string, err error)

// Bounds of one step.
const (
	stepTimeout   = 5 * time.Minute
	binaryTimeout = 15 * time.Minute // some 40 MB, over a slow line too
)

// within does a step within its bound.
func within(ctx context.Context, name Name, do action) (string, error) {
	bound := stepTimeout
	if name == StepBinary || name == StepPackage {
		bound = binaryTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	detail, err := do(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return "", fmt.Errorf("it was not done within %v: is the device, or the way to it, overloaded?", bound)
	}
	return detail, err
}

func (e *Enrolment) carryOut(ctx context.Context, out Outcome, plan Plan, f Facts, k Known) (Outcome, error) {
	w := &work{Enrolment: e, facts: f, known: k, plan: plan}
	actions := map[Name]action{
		StepSocket: w.socket, StepID: w.user, StepDirectory: w.directory, StepPackage: w.install, StepBinary: w.binary,
		StepCA:         w.file(machine.File{Path: caPath, Mode: 0o644, Content: e.Wish.NATS.CA}),
		StepProviderCA: w.file(machine.File{Path: providerCAPath, Mode: 0o644, Content: e.Wish.Auth.CA}),
		StepConfig:     w.config, StepKey: w.key,
		StepUnit:    w.file(machine.File{Path: unit.Path, Mode: 0o644, Content: unit.Enrolled()}),
		StepService: w.service,
	}
	if wayOf(f, k) != byBinary {
		actions[StepUnit], actions[StepBinary] = w.unhide, w.former
	}
	for _, s := range plan.Steps {
		if s.State == Change {
			detail, err := within(ctx, s.Name, actions[s.Name])
			if err != nil {
				s.State, s.Detail, s.Diff = Failed, err.Error(), ""
				out.Steps = append(out.Steps, s)
				e.Show(s)
				return out, e.fail(ctx, s.Name, err, resumeTry)
			}
			if detail != "" {
				s.Detail = detail
			}
		}
		out.Steps = append(out.Steps, s)
		e.Show(s)
	}
	for _, last := range []struct {
		name Name
		do   func(context.Context) (Step, error)
	}{{StepJoin, w.join}, {StepOldKeys, w.oldKeys}} {
		s, err := last.do(ctx)
		if err != nil {
			s = Step{Name: last.name, State: Failed, Detail: err.Error()}
		}
		if s.Name != "" {
			out.Steps = append(out.Steps, s)
			e.Show(s)
		}
		if err != nil {
			return out, e.fail(ctx, last.name, err, resumeTry)
		}
	}
	return out, nil
}

// fail gives the error of a step, and leaves it in the device's journal.
func (e *Enrolment) fail(ctx context.Context, step Name, err error, try string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	failed := failure(step, err, try)
	if !errors.Is(err, machine.ErrConnectionLost) && !errors.Is(err, machine.ErrNoRoot) {
		e.tell(ctx, failed)
	}
	return failed
}

// tellTimeout bounds the message in the journal, which is a courtesy.
const tellTimeout = 10 * time.Second

const tellScript = `if command -v logger >/dev/null 2>&1; then logger -t fleet-enroll -p user.err
elif command -v systemd-cat >/dev/null 2>&1; then systemd-cat -t fleet-enroll -p err cat
fi`

// tell leaves a failure in the device's own journal.
func (e *Enrolment) tell(ctx context.Context, failed *Error) {
	if e.DryRun {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	text := fmt.Sprintf("the enrolment as %s failed at %s\n", e.Wish.ID, failed.Error())
	_, _ = e.Machine.Run(ctx, machine.Command{Script: tellScript, Stdin: []byte(strings.ToValidUTF8(text, ""))})
}
