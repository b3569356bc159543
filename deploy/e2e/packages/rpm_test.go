//go:build e2e

package packages_test

import (
	"fmt"
	"strings"

	"fleet.nationtech.io/deploy/e2e/systemdtest"
	"fleet.nationtech.io/deploy/enroll/unit"
	"fleet.nationtech.io/deploy/packages"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// asRPM runs the scripts of the rpm in the order in which rpm runs them. The device is
// Debian, so that rpm itself is not tried: the files are unpacked and removed by hand.
func (w *world) asRPM(d *systemdtest.Device) {
	t := w.t
	script := func(name string, versions int) string {
		t.Helper()
		return d.Feed(packages.Script(pkgfile.RPM, name), fmt.Sprintf("sh -s %d", versions))
	}
	unpack := func() {
		t.Helper()
		p := deb(t, "v1.0.0")
		d.Feed(p.Content, "cat >/root/package && dpkg-deb -x /root/package / && rm /root/package")
	}
	state := func() string {
		return service(d, "ActiveState") + " " + service(d, "UnitFileState") + " " + strings.TrimPrefix(service(d, "FragmentPath"), "/usr")
	}
	const packaged = "/lib/systemd/system/fleet-agent.service"

	unpack()
	script("postinst", 1)
	if is := state(); is != "inactive enabled "+packaged { // Debian's presets enable all
		t.Errorf("installed and not configured, the unit is %s", is)
	}
	w.configure(d)
	d.Run("systemctl start fleet-agent")
	eventually(t, "the container runs", func() error { _, err := container(d); return err })
	was, err := container(d)
	w.must(err)

	invocation := service(d, "InvocationID")
	script("postinst", 2)
	script("prerm", 1)
	script("postrm", 1)
	eventually(t, "the upgraded agent is active", func() error { return active(d, invocation) })
	goesOn(t, d, was, "the upgrade of an rpm")

	script("prerm", 0)
	d.Run("rm /usr/bin/fleet-agent " + unit.PackagedPath)
	script("postrm", 0)
	if is := service(d, "LoadState") + d.Run("ls /etc/systemd/system/multi-user.target.wants | grep fleet || true"); is != "not-found" {
		t.Errorf("removed, the unit is %s", is)
	}
	goesOn(t, d, was, "the removal of an rpm")

	unpack()
	d.Run("mv /usr/bin/fleet-agent " + unit.AgentPath)
	d.Feed(unit.Enrolled(), "cat >"+unit.Path+"; systemctl daemon-reload; systemctl enable --now fleet-agent 2>/dev/null")
	invocation = service(d, "InvocationID")
	unpack()
	if said := script("postinst", 1); !strings.Contains(said, unit.AgentPath+" is not used any more") {
		t.Errorf("installed over an enrolled binary it says %q", said)
	}
	eventually(t, "the agent of the rpm is active", func() error { return active(d, invocation) })
	if is := state(); is != "active enabled "+packaged {
		t.Errorf("installed over an enrolled binary, the unit is %s", is)
	}
	eventually(t, "the agent of the rpm answers", func() error { return w.ping(d.Name) })
	goesOn(t, d, was, "an rpm over an enrolled binary")
	w.step("the rpm's scripts: installed, upgraded, removed, and over an enrolled binary")
}
