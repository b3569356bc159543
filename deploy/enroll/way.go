package enroll

import (
	"bytes"
	"fmt"

	"fleet.nationtech.io/deploy/enroll/unit"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// way is how the agent gets to a device.
type way int

const (
	byBinary    way = iota // the enrolment writes the agent and its unit
	byPackage              // the enrolment has the package manager install a package
	byInstalled            // the package is there already, and no other one is at hand
)

// wayOf chooses the way. Where the package is installed, the agent is the package
// manager's: a binary beside it would hide it.
func wayOf(f Facts, k Known) way {
	switch {
	case k.Package != nil:
		return byPackage
	case f.Package != "":
		return byInstalled
	}
	return byBinary
}

// managers are how a person calls what installs packages.
var managers = map[pkgfile.Format]string{pkgfile.Deb: "dpkg", pkgfile.RPM: "rpm"}

// planAgent plans how the agent gets to the device.
func planAgent(f Facts, k Known) Step {
	switch way := wayOf(f, k); {
	case k.NoPackage != nil:
		return refuse(StepPackage, "name another one by --package, or install the agent without one by --package none", "%v", k.NoPackage)
	case way == byBinary:
		return planBinary(f, k)
	case way == byInstalled:
		return ok(StepPackage, "%s %s is installed; %s keeps it", pkgfile.Name, f.Package, managers[f.Manager])
	}
	switch p := k.Package; {
	case f.Package == "":
		return change(StepPackage, "%s %s is installed by %s", pkgfile.Name, p.Version, managers[p.Format])
	case f.Package != p.Version:
		return change(StepPackage, "%s %s is installed by %s; it was version %s", pkgfile.Name, p.Version, managers[p.Format], f.Package)
	case f.PackagedSum != p.Sum:
		return change(StepPackage, "%s %s is installed again, as its program is another one", pkgfile.Name, p.Version)
	}
	return ok(StepPackage, "%s %s", pkgfile.Name, f.Package)
}

// planFormer plans what becomes of an agent that an enrolment installed before the
// package came. An administrator's unit may start it still.
func planFormer(f Facts, k Known) (Step, bool) {
	if wayOf(f, k) == byBinary || f.AgentSum == "" && f.AgentVersion == "" {
		return Step{}, false
	}
	if f.Unit != nil && !unit.IsEnrolled(f.Unit) && bytes.Contains(f.Unit, []byte(unit.AgentPath)) {
		return Step{Name: StepBinary, State: Kept, Detail: unit.AgentPath + " is kept: " + unit.Path + " names it"}, true
	}
	return change(StepBinary, "%s is removed: the package has %s", unit.AgentPath, unit.PackagedAgentPath), true
}

// misfit says why a package that a person named does not do for a device.
func misfit(p pkgfile.Package, f Facts, file string) error {
	switch {
	case f.Manager == "":
		return fmt.Errorf("the device has neither dpkg nor rpm that could install %s", file)
	case p.Format != f.Manager:
		return fmt.Errorf("%s is a package for %s, and the device has %s", file, managers[p.Format], managers[f.Manager])
	case p.Arch != f.Arch():
		return fmt.Errorf("%s is for %s, and the device is %s", file, p.Arch, f.Machine)
	case !f.PodmanPackaged:
		return fmt.Errorf("%s needs the package podman, and the Podman of the device is of no package", file)
	}
	return nil
}
