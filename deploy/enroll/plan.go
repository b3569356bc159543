package enroll

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/enroll/unit"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// State is what a step has to do, or did.
type State string

// States of a step.
const (
	Same    State = "same"    // it is as it should be
	Change  State = "change"  // it differs, and is changed
	Planned State = "planned" // it differs, and would be changed
	Kept    State = "kept"    // it differs, and is left as it is
	Unknown State = "unknown" // it cannot be known before it is tried
	Refused State = "refused" // the enrolment cannot be done
	Failed  State = "failed"  // the change did not work
)

// Name names a step.
type Name string

// The steps, in their order. The first ones are the preflight: they change nothing.
const (
	StepArch     Name = "architecture"
	StepSystemd  Name = "systemd"
	StepPodman   Name = "podman"
	StepDisk     Name = "disk"
	StepClock    Name = "clock"
	StepNATS     Name = "nats"
	StepProvider Name = "provider"
	StepID       Name = "id"

	StepSocket     Name = "podman-socket"
	StepDirectory  Name = "directory"
	StepPackage    Name = "package"
	StepBinary     Name = "binary"
	StepCA         Name = "ca"
	StepProviderCA Name = "provider-ca"
	StepConfig     Name = "config"
	StepKey        Name = "key"
	StepUnit       Name = "unit"
	StepService    Name = "service"
	StepJoin       Name = "join"
	StepOldKeys    Name = "old-keys"
)

// Step is one step of an enrolment.
type Step struct {
	Name   Name   `json:"step"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
	Diff   string `json:"diff,omitempty"` // of the configuration, without passwords
	Try    string `json:"try,omitempty"`  // what to do about a refusal
}

// Plan is what an enrolment does.
type Plan struct{ Steps []Step }

// Refusals are the steps for which the enrolment cannot be done.
func (p Plan) Refusals() []Step {
	return slices.DeleteFunc(slices.Clone(p.Steps), func(s Step) bool { return s.State != Refused })
}

func (p Plan) step(name Name) (Step, bool) {
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Name == name })
	if i < 0 {
		return Step{}, false
	}
	return p.Steps[i], true
}

func (p Plan) changes(name Name) bool {
	s, ok := p.step(name)
	return ok && s.State == Change
}

// Known is what is known of the device's id beside the device itself.
type Known struct {
	Binary Binary // for the device's architecture
	NoBin  error  // why there is none

	Package   *pkgfile.Package // for the device; nil: none is at hand
	NoPackage error            // why the one that was named does not do

	User   *User        // at the provider; nil: it was not asked
	Device *FleetDevice // nil: the fleet was not asked
	Pongs  []Pong       // of all who answer under this id

	Now time.Time
}

// NewPlan says what an enrolment does, from what there is and what should be. Pure.
func NewPlan(f Facts, w Wish, k Known) Plan {
	var p Plan
	p.Steps = append(p.Steps, planArch(f, k), planSystemd(f), planPodman(f), planDisk(f), planClock(f))
	p.Steps = append(p.Steps, planReach(f, w)...)
	p.Steps = append(p.Steps, planID(f, w, k))
	p.Steps = append(p.Steps, planSocket(f), planDirectory(f), planAgent(f, k))
	if s, ok := planFile(StepCA, caPath, f.CA, w.NATS.CA); ok {
		p.Steps = append(p.Steps, s)
	}
	if s, ok := planFile(StepProviderCA, providerCAPath, f.ProviderCA, w.Auth.CA); ok {
		p.Steps = append(p.Steps, s)
	}
	p.Steps = append(p.Steps, planConfig(f, w))
	if w.Auth.Flavour != Shared {
		p.Steps = append(p.Steps, planKey(f, w, k))
	}
	p.Steps = append(p.Steps, planUnit(f, k))
	if s, ok := planFormer(f, k); ok {
		p.Steps = append(p.Steps, s)
	}
	p.Steps = append(p.Steps, planService(f, p))
	return p
}

func ok(name Name, detail string, args ...any) Step {
	return Step{Name: name, State: Same, Detail: fmt.Sprintf(detail, args...)}
}

func change(name Name, detail string, args ...any) Step {
	return Step{Name: name, State: Change, Detail: fmt.Sprintf(detail, args...)}
}

func refuse(name Name, try, detail string, args ...any) Step {
	return Step{Name: name, State: Refused, Detail: fmt.Sprintf(detail, args...), Try: try}
}

func planDirectory(f Facts) Step {
	switch {
	case f.EtcMode == "":
		return change(StepDirectory, "%s is made", configDir)
	case !strings.HasPrefix(f.EtcMode, "drwx------") || !strings.HasSuffix(f.EtcMode, " 0"):
		return change(StepDirectory, "%s becomes root's alone (0700)", configDir)
	}
	return ok(StepDirectory, "%s", configDir)
}

func planBinary(f Facts, k Known) Step {
	switch {
	case f.AgentSum != "" && f.AgentSum == k.Binary.Sum:
		return ok(StepBinary, "already version %s", f.AgentVersion)
	case f.AgentSum == "":
		return change(StepBinary, "%s is installed", unit.AgentPath)
	case f.AgentVersion == "":
		return change(StepBinary, "%s is replaced", unit.AgentPath)
	}
	return change(StepBinary, "%s is replaced; it was version %s", unit.AgentPath, f.AgentVersion)
}

// planFile plans a CA file. Where none is wished, the configuration names none, and one
// that lies there is left.
func planFile(name Name, path string, is, wish []byte) (Step, bool) {
	switch {
	case len(wish) == 0:
		return Step{}, false
	case bytes.Equal(is, wish):
		return ok(name, "%s", path), true
	case is == nil:
		return change(name, "%s is written", path), true
	}
	return change(name, "%s is replaced", path), true
}

func planUnit(f Facts, k Known) Step {
	switch {
	case wayOf(f, k) != byBinary && f.Unit == nil:
		return ok(StepUnit, "%s of the package", unitName)
	case wayOf(f, k) != byBinary && !unit.IsEnrolled(f.Unit):
		return Step{Name: StepUnit, State: Kept, Detail: unit.Path + " is kept: no enrolment wrote it, and it hides the unit of the package"}
	case wayOf(f, k) != byBinary:
		return change(StepUnit, "%s is removed: it hides the unit of the package", unit.Path)
	case bytes.Equal(f.Unit, unit.Enrolled()):
		return ok(StepUnit, "%s", unitName)
	case f.Unit == nil:
		return change(StepUnit, "%s is written", unit.Path)
	}
	return change(StepUnit, "%s is replaced", unit.Path)
}

// restarts says whether an agent that is active reads what it runs with again.
func restarts(f Facts, p Plan) bool {
	return f.RestartOwed || slices.ContainsFunc([]Name{StepPackage, StepBinary, StepCA, StepProviderCA, StepConfig, StepKey, StepUnit}, p.changes)
}

// planService restarts the agent where something changed that it reads when it starts,
// now or in an enrolment that was broken off.
func planService(f Facts, p Plan) Step {
	active, enabled := f.Service["ActiveState"] == "active", f.Service["UnitFileState"] == "enabled"
	switch {
	case !active:
		return change(StepService, "%s is enabled and started", unitName)
	case restarts(f, p):
		return change(StepService, "%s is restarted", unitName)
	case !enabled:
		return change(StepService, "%s is enabled", unitName)
	}
	return ok(StepService, "%s is active", unitName)
}
