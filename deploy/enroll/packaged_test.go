package enroll

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"fleet.nationtech.io/deploy/enroll/unit"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

var thePackage = pkgfile.Package{Format: pkgfile.Deb, Version: "2-1", Arch: "arm64", Sum: packagedSum, Content: []byte("deb")}

// packagedIn is an enrolment of a device with dpkg, for which a package is at hand.
func packagedIn(t *testing.T, w *world) *Enrolment {
	t.Helper()
	w.probe["manager"], w.probe["podman_packaged"] = "deb", "yes"
	file := filepath.Join(t.TempDir(), "fleet-agent.deb")
	if err := os.WriteFile(file, thePackage.Content, 0o600); err != nil {
		t.Fatal(err)
	}
	e := enrolmentIn(w, Zitadel)
	e.Packages = &Packages{Place: file, read: map[string]pkgfile.Package{file: thePackage}}
	return e
}

// Guarantee: by whatever call a change from the binary to the package is broken off, it
// ends as one that was not, run again, and leaves nothing of the binary.
func TestADeviceMovesFromTheBinaryToThePackage(t *testing.T) {
	t.Parallel()
	enrolled := func(t *testing.T) *world {
		w := newWorld()
		if _, err := enrolmentIn(w, Zitadel).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.calls, w.log = 0, nil
		return w
	}
	calls := 0
	synctest.Test(t, func(t *testing.T) {
		w := enrolled(t)
		config := w.files["/etc/fleet-agent/config.toml"]
		if _, err := packagedIn(t, w).Run(t.Context()); err != nil {
			t.Fatalf("%v after %v", err, w.log)
		}
		if w.pkg != thePackage.Version || w.files["/etc/fleet-agent/config.toml"] != config || w.keyID != "key-1" {
			t.Errorf("the device has package %q, key %s and\n%s", w.pkg, w.keyID, w.files["/etc/fleet-agent/config.toml"])
		}
		calls, w.log = w.calls, nil
		out, err := packagedIn(t, w).Run(t.Context())
		if err != nil || len(w.log) > 0 || len(out.Changed()) > 0 {
			t.Errorf("again: %v, changes %v", err, w.log)
		}
		without := enrolmentIn(w, Zitadel)
		without.Binaries = &Binaries{Place: t.TempDir()}
		if out, err := without.Run(t.Context()); err != nil || len(out.Changed()) > 0 {
			t.Errorf("without a package and a binary at hand: %v, changes %v", err, w.log)
		}
	})
	for n := 1; n <= calls; n++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("at call %d, after it %v", n, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := enrolled(t)
					w.breakAt, w.after = n, after
					if _, err := packagedIn(t, w).Run(t.Context()); !errors.Is(err, errCut) {
						t.Fatalf("error %v, want %v", err, errCut)
					}
					w.breakAt = 0
					if _, err := packagedIn(t, w).Run(t.Context()); err != nil {
						t.Fatalf("again: %v after %v", err, w.log)
					}
					for _, gone := range []string{unit.AgentPath, unit.Path, packagePath} {
						if _, found := w.files[gone]; found {
							t.Errorf("%s is left", gone)
						}
					}
					if w.pkg != thePackage.Version || w.owed || !w.active || !w.enabled || w.keyID != "key-1" {
						t.Errorf("the device is %+v", w)
					}
				})
			})
		}
	}
}

func TestHowTheAgentGetsToADevice(t *testing.T) {
	t.Parallel()
	blank := Facts{Machine: "aarch64", Manager: pkgfile.Deb, PodmanPackaged: true}
	for name, test := range map[string]struct {
		set   func(*Facts, *Known)
		state State
		says  string
	}{
		"a blank device":                        {func(*Facts, *Known) {}, Change, "fleet-agent 2-1 is installed by dpkg"},
		"the same package":                      {func(f *Facts, _ *Known) { f.Package, f.PackagedSum = "2-1", packagedSum }, Same, "fleet-agent 2-1"},
		"another version":                       {func(f *Facts, _ *Known) { f.Package = "1-1" }, Change, "it was version 1-1"},
		"the same version of another program":   {func(f *Facts, _ *Known) { f.Package, f.PackagedSum = "2-1", "x" }, Change, "installed again"},
		"no package at hand":                    {func(_ *Facts, k *Known) { k.Package = nil }, Change, "/usr/local/bin/fleet-agent is installed"},
		"none at hand, and one that is there":   {func(f *Facts, k *Known) { k.Package, f.Package = nil, "1-1" }, Same, "dpkg keeps it"},
		"a named package that does not do":      {func(_ *Facts, k *Known) { k.Package, k.NoPackage = nil, errors.New("it is for amd64") }, Refused, "for amd64"},
		"a package on a device that has an rpm": {func(f *Facts, k *Known) { f.Manager, f.Package, k.Package = pkgfile.RPM, "1-1", nil }, Same, "rpm keeps it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, k := blank, Known{Package: &thePackage}
			test.set(&f, &k)
			if s := planAgent(f, k); s.State != test.state || !strings.Contains(s.Detail, test.says) {
				t.Errorf("%+v, want %s and %q", s, test.state, test.says)
			}
		})
	}
}

func TestTheUnitAndTheBinaryOfBefore(t *testing.T) {
	t.Parallel()
	f, k := Facts{Unit: unit.Enrolled(), AgentSum: "x"}, Known{Package: &thePackage}
	if s := planUnit(f, k); s.State != Change || !strings.Contains(s.Detail, "hides the unit of the package") {
		t.Errorf("%+v", s)
	}
	if s, found := planFormer(f, k); !found || s.Name != StepBinary || s.State != Change {
		t.Errorf("%+v", s)
	}
	f = Facts{}
	if s := planUnit(f, k); s.State != Same {
		t.Errorf("%+v", s)
	}
	if s, found := planFormer(f, k); found {
		t.Errorf("%+v", s)
	}
}

// systemctl edit --full writes a whole unit beside the package's. It is its
// administrator's, as for the scripts of the packages.
func TestAnAdministratorsUnitIsKept(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text  string
		state State
		runs  State // of the binary that an enrolment installed
	}{
		"an enrolment's":               {string(unit.Enrolled()), Change, Change},
		"an older enrolment's":         {unit.Origin + "\n[Service]\nExecStart=" + unit.AgentPath + "\n", Change, Change},
		"a copy of the package's":      {string(unit.Packaged()) + "Nice=5\n", Kept, Change},
		"one of an administrator":      {"[Service]\nExecStart=/usr/bin/fleet-agent\n", Kept, Change},
		"one that starts the binary":   {"[Service]\nExecStart=" + unit.AgentPath + "\n", Kept, Kept},
		"one that is too large to see": {"(too large)", Kept, Change},
		"an empty one":                 {"", Kept, Change},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Facts{Unit: []byte(test.text), AgentSum: "x", Package: "2-1"}
			if s := planUnit(f, Known{}); s.State != test.state {
				t.Errorf("%+v", s)
			}
			if s, found := planFormer(f, Known{Package: &thePackage}); !found || s.State != test.runs {
				t.Errorf("%+v", s)
			}
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				if _, err := packagedIn(t, w).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.files[unit.Path], w.log = test.text, nil
				out, err := packagedIn(t, w).Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if text, found := w.files[unit.Path]; found != (test.state == Kept) || found && text != test.text {
					t.Errorf("the device has the unit %q (%v)", text, found)
				}
				if kept := len(out.Changed()) == 0 && len(w.log) == 0; kept != (test.state == Kept) {
					t.Errorf("changed: %v, %v", out.Changed(), w.log)
				}
			})
		})
	}
}

func TestAPackageThatAPersonNamedHasToFit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set  func(*Facts)
		says string
	}{
		"no package manager":   {func(f *Facts) { f.Manager = "" }, "neither dpkg nor rpm"},
		"another manager":      {func(f *Facts) { f.Manager = pkgfile.RPM }, "for dpkg, and the device has rpm"},
		"another architecture": {func(f *Facts) { f.Machine = "x86_64" }, "for arm64, and the device is x86_64"},
		"a Podman of its own":  {func(f *Facts) { f.PodmanPackaged = false }, "is of no package"},
		"it does":              {func(*Facts) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Facts{Machine: "aarch64", Manager: pkgfile.Deb, PodmanPackaged: true}
			test.set(&f)
			err := misfit(thePackage, f, "x.deb")
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
}

func TestPackagesInADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &Packages{Place: dir, read: map[string]pkgfile.Package{filepath.Join(dir, "fleet-agent_2-1_arm64.deb"): thePackage}}
	f := Facts{Machine: "aarch64", Manager: pkgfile.Deb, PodmanPackaged: true}
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := p.For(f); got != nil || err != nil {
		t.Errorf("an empty directory: %v, %v", got, err)
	}
	write("fleet-agent_2-1_amd64.deb")
	write("fleet-agent-2-1.aarch64.rpm")
	write("fleet-agent_2-1_arm64.deb")
	if got, err := p.For(f); err != nil || got == nil || got.Version != "2-1" {
		t.Errorf("one that fits: %v, %v", got, err)
	}
	for name, set := range map[string]func(*Facts){
		"no package manager":      func(f *Facts) { f.Manager = "" },
		"a Podman of its own":     func(f *Facts) { f.PodmanPackaged = false },
		"an unknown architecture": func(f *Facts) { f.Machine = "riscv64" },
	} {
		other := f
		set(&other)
		if got, err := p.For(other); got != nil || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	write("fleet-agent_3-1_arm64.deb")
	if _, err := p.For(f); err == nil || !strings.Contains(err.Error(), "2 packages for arm64") {
		t.Errorf("two that fit: %v", err)
	}
	if _, err := (&Packages{Place: filepath.Join(dir, "none.deb")}).For(f); err == nil {
		t.Error("a file that is not there")
	}
}

func TestALeavingDeviceKeepsItsPackage(t *testing.T) {
	t.Parallel()
	steps := (&Departure{ID: "pi-01"}).off(Remains{Manager: pkgfile.Deb, Package: "2-1", Paths: []string{"/etc/fleet-agent"}})
	last := steps[len(steps)-1]
	if last.Name != StepPackage || last.State != Kept || !strings.Contains(last.Detail, "apt-get purge fleet-agent") {
		t.Errorf("%+v", last.Step)
	}
}

// A package manager that is at work is waited for; what else it says is told. The file
// goes in either case.
func TestThePackageIsInstalledOnceTheManagerIsFree(t *testing.T) {
	t.Parallel()
	const locked = "dpkg: error: dpkg frontend lock was locked by another process with pid 1"
	for name, test := range map[string]struct {
		format, manager string
		said            string // empty: it is installed
	}{
		"it is free at the third try": {"deb", `if [ ! -e second ]; then [ -e first ] && : >second; : >first; echo "` + locked + `" >&2; exit 2; fi`, ""},
		"it is never free":            {"deb", `echo "` + locked + `" >&2; exit 2`, "frontend lock was locked"},
		"a dependency is missing":     {"deb", `echo "fleet-agent depends on podman" >&2; exit 1`, "fleet-agent depends on podman"},
		"an rpm":                      {"rpm", `[ "$*" = "-U --replacepkgs --oldpackage package" ]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			manager := map[string]string{"deb": "dpkg", "rpm": "rpm"}[test.format]
			for file, text := range map[string]string{manager: test.manager, "sleep": "exit 0", "package": ""} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", installScript, "sh", test.format, "package")
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if (err == nil) != (test.said == "") || !strings.Contains(string(out), test.said) {
				t.Errorf("%v: %s, want %q", err, out, test.said)
			}
			if _, err := os.Stat(filepath.Join(dir, "package")); err == nil {
				t.Error("the file is left")
			}
		})
	}
}
