//go:build e2e

package packages_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
	"fleet.nationtech.io/deploy/packages"
)

// byEnrolment is the life of a device that fleetctl enrols: by the binary, then by the
// deb, by the binary once more, and by the deb that an administrator installed.
func (w *world) byEnrolment(d *systemdtest.Device) {
	t := w.t
	sampletest.Load(t, d)
	dir := t.TempDir()
	newer := deb(t, "v1.1.0")
	first, second := w.file(dir, deb(t, "v1.0.0")), w.file(dir, newer)

	w.enrol(d, "--package", "none")
	if is := service(d, "FragmentPath"); is != "/etc/systemd/system/fleet-agent.service" {
		t.Errorf("enrolled by the binary, the unit is %s", is)
	}
	eventually(t, "the container runs", func() error { _, err := container(d); return err })
	was, err := container(d)
	w.must(err)
	config := d.Run("sha256sum /etc/fleet-agent/*")
	w.step("enrolled by the binary")

	packaged := func(after, version string) {
		t.Helper()
		if is := service(d, "FragmentPath"); strings.TrimPrefix(is, "/usr") != "/lib/systemd/system/fleet-agent.service" { // /lib is a link
			t.Errorf("after %s the unit is %s", after, is)
		}
		for property, want := range map[string]string{"UnitFileState": "enabled", "ActiveState": "active"} {
			if is := service(d, property); is != want {
				t.Errorf("after %s the unit has %s=%s, want %s", after, property, is, want)
			}
		}
		if is := d.Run("dpkg-query -W -f '${Version} ${db:Status-Abbrev}' fleet-agent"); is != version+" ii " {
			t.Errorf("after %s dpkg has %q", after, is)
		}
		if is := d.Run("sha256sum /etc/fleet-agent/*"); is != config {
			t.Errorf("after %s the device's own files are\n%s\nand were\n%s", after, is, config)
		}
		if left := d.Run("ls -A /etc/fleet-agent/.package /run/fleet-enroll.restart 2>/dev/null || true"); left != "" {
			t.Errorf("after %s there is %s", after, left)
		}
		goesOn(t, d, was, after)
	}
	gone := func(after string) {
		t.Helper()
		if left := d.Run("ls -d /usr/local/bin/fleet-agent /etc/systemd/system/fleet-agent.service 2>/dev/null || true"); left != "" {
			t.Errorf("after %s there is %s", after, left)
		}
	}

	w.enrol(d, "--package", first)
	packaged("the change to the package", "1.0.0-1")
	gone("the change to the package")
	if said := w.enrol(d, "--package", first); !strings.Contains(said, "nothing was changed") {
		t.Errorf("enrolled again: %s", said)
	}
	w.enrol(d, "--package", second)
	packaged("an upgrade", "1.1.0-1")
	if said := w.enrol(d, "--package", "none"); !strings.Contains(said, "nothing was changed") || !strings.Contains(said, "dpkg keeps it") {
		t.Errorf("enrolled with the package there and none at hand: %s", said)
	}
	w.step("enrolled by the deb, upgraded by another one")

	// An administrator goes back to the binary, purges what the package left, and then
	// installs the package again.
	d.Run("dpkg --remove fleet-agent")
	w.enrol(d, "--package", "none")
	if said := d.Run("dpkg --purge fleet-agent 2>&1"); !strings.Contains(said, "are kept") {
		t.Errorf("the purge beside an enrolled binary says %s", said)
	}
	if err := w.ping(d.Name); err != nil || service(d, "UnitFileState") != "enabled" {
		t.Errorf("after the purge beside an enrolled binary its unit is %s (%v)", service(d, "UnitFileState"), err)
	}
	before := service(d, "InvocationID")
	if said := install(d, newer); !strings.Contains(said, "/usr/local/bin/fleet-agent is not used any more") {
		t.Errorf("the installation over an enrolled binary says %s", said)
	}
	eventually(t, "the package's agent is active", func() error { return active(d, before) })
	eventually(t, "the package's agent answers", func() error { return w.ping(d.Name) })
	packaged("an installation by hand", "1.1.0-1")
	w.enrol(d, "--package", second)
	gone("the next enrolment")
	w.step("back to the binary, and over to the deb by hand")

	d.Reboot()
	eventually(t, "the agent answers after a reboot", func() error { return w.ping(d.Name) })
	w.step("rebooted")

	if said := w.fleetctl("unenroll", target(d), "--yes", "--reason", "the test is over"); !strings.Contains(said, "apt-get purge fleet-agent") {
		t.Errorf("the device left, and it is not said how the package goes: %s", said)
	}
	if is := service(d, "ActiveState") + " " + service(d, "UnitFileState") + " " + d.Run("ls -d /etc/fleet-agent /var/lib/fleet-agent 2>/dev/null; podman ps -aq"); is != "inactive disabled " {
		t.Errorf("the device left, and is %s", is)
	}
	w.fleetctl("device", "allow", d.Name)
	w.enrol(d, "--package", "none")
	w.step("left, and joined again by the package that is there")
}

// file writes a package where fleetctl finds it.
func (w *world) file(dir string, p packages.Package) string {
	w.t.Helper()
	file := filepath.Join(dir, p.File)
	w.must(os.WriteFile(file, p.Content, 0o600))
	return file
}

// target is the device as fleetctl is told it.
func target(d *systemdtest.Device) string { return "ssh://" + systemdtest.User + "@" + d.SSH() }

// enrol enrols a device and gives what was said.
func (w *world) enrol(d *systemdtest.Device, more ...string) string {
	w.t.Helper()
	password, ok := w.users.DevicePassword(d.Name)
	if !ok {
		w.t.Fatalf("%s has no password", d.Name)
	}
	file := filepath.Join(w.t.TempDir(), "password")
	w.must(os.WriteFile(file, []byte(password+"\n"), 0o600))
	return w.fleetctl(append([]string{
		"enroll", target(d), "--id", d.Name, "-l", "site=lab", "-o", "text", "--auth", "shared", "--device-password-file", file,
	}, more...)...)
}

// fleetctl runs a command line that has to succeed.
func (w *world) fleetctl(args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	c := exec.CommandContext(ctx, built.Program(w.t, "fleetctl"), args...)
	c.Env = []string{
		"HOME=" + w.home, "PATH=" + os.Getenv("PATH"), "NO_COLOR=1",
		"FLEET_NATS_URL=" + w.url, "FLEET_NATS_CA=" + w.ca.File(),
		"FLEET_NATS_USER=" + w.users.People[0].User, "FLEET_NATS_PASSWORD=" + w.users.People[0].Password,
	}
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		w.t.Fatalf("fleetctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// writeSSHConfig writes the ~/.ssh of the person who enrols.
func (w *world) writeSSHConfig() {
	w.t.Helper()
	dir := filepath.Join(w.home, ".ssh")
	w.must(os.Mkdir(dir, 0o700))
	known := ""
	for _, d := range w.devices {
		known += d.KnownHost()
	}
	w.must(os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known), 0o600))
	w.must(os.WriteFile(filepath.Join(dir, "config"), fmt.Appendf(nil, "Host *\n  IdentityFile %s\n", w.lab.KeyFile), 0o600))
}
