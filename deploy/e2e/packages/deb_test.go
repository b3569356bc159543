//go:build e2e

package packages_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
)

// Two devices at the same time: an administrator installs, upgrades, removes and purges
// the deb on one, and fleetctl enrols the other by it.
func TestADebOnADevice(t *testing.T) {
	w := newWorld(t, "deb-01", "enrol-01")
	w.step("the devices run")
	t.Run("installed, upgraded, removed and purged by dpkg", func(t *testing.T) {
		t.Parallel()
		w.in(t).byHand(w.devices[0].In(t))
	})
	t.Run("installed by an enrolment", func(t *testing.T) {
		t.Parallel()
		w.in(t).byEnrolment(w.devices[1].In(t))
	})
}

// byHand is the life of a deb on a device. Its container is the same from beginning to
// end.
func (w *world) byHand(d *systemdtest.Device) {
	t := w.t
	blank := d.Files()
	sampletest.Load(t, d)
	first, second := deb(t, "v1.0.0"), deb(t, "v1.1.0")

	install(d, first)
	if is := service(d, "ActiveState") + " " + service(d, "ConditionResult") + " " + service(d, "UnitFileState") + " " + service(d, "NRestarts"); is != "inactive no enabled 0" {
		t.Errorf("installed and not configured, the unit is %s", is)
	}
	if is := d.Run("systemctl is-system-running || true"); is != "running" {
		t.Errorf("installed and not configured, the system is %s", is)
	}
	w.step("installed: it waits for its configuration")

	w.configure(d)
	d.Run("systemctl start fleet-agent")
	eventually(t, "the agent answers", func() error { return w.ping(d.Name) })
	eventually(t, "the container runs", func() error { _, err := container(d); return err })
	was, err := container(d)
	w.must(err)
	w.step("configured: it is in the fleet, and its container runs")

	own := "find /etc/fleet-agent -type f -exec stat -c '%n %a %U %Y' {} + -exec sha256sum {} + | sort"
	before, invocation := d.Run(own), service(d, "InvocationID")
	install(d, second)
	eventually(t, "the new agent is active", func() error { return active(d, invocation) })
	eventually(t, "the new agent answers", func() error { return w.ping(d.Name) })
	if is := d.Run("dpkg-query -W -f '${Version} ${db:Status-Abbrev}' fleet-agent"); is != "1.1.0-1 ii " {
		t.Errorf("upgraded, dpkg has %q", is)
	}
	if diff := cmp.Diff(before, d.Run(own)); diff != "" {
		t.Errorf("the upgrade changed the device's own files (-before +after):\n%s", diff)
	}
	goesOn(t, d, was, "the upgrade")
	w.step("upgraded: another agent, the same container")

	score := regexp.MustCompile(`(?m)^. Overall exposure level for fleet-agent\.service: ([0-9.]+)`).FindStringSubmatch(d.Run("systemd-analyze security --no-pager fleet-agent.service"))
	if score == nil {
		t.Error("systemd-analyze security gives no score")
	} else if exposure, err := strconv.ParseFloat(score[1], 64); err != nil || exposure > maxExposure {
		t.Errorf("systemd-analyze security says %s, and docs/packages.md %v", score[1], maxExposure)
	} else {
		w.step("systemd-analyze security: " + score[1])
	}
	w.unit(d, was)

	d.Run("dpkg --remove fleet-agent")
	if is := service(d, "LoadState"); is != "not-found" {
		t.Errorf("removed, the unit is %s", is)
	}
	if err := w.ping(d.Name); err == nil {
		t.Error("removed, the agent answers")
	}
	goesOn(t, d, was, "the removal")
	if diff := cmp.Diff(before, d.Run(own)); diff != "" {
		t.Errorf("the removal changed the device's own files (-before +after):\n%s", diff)
	}
	install(d, second)
	eventually(t, "the agent that is installed again answers", func() error { return w.ping(d.Name) })
	goesOn(t, d, was, "another installation")
	w.step("removed and installed again: the same configuration, the same container")

	if said := d.Run("dpkg --purge fleet-agent 2>&1"); !strings.Contains(said, "podman ps --filter label=io.nationtech.fleet.device") {
		t.Errorf("the purge does not say that containers go on: %s", said)
	}
	goesOn(t, d, was, "the purge")
	if diff := cmp.Diff(blank, d.Files(), ignoreDpkg()); diff != "" {
		t.Errorf("purged, the device has other files than before (-before +after):\n%s", diff)
	}
	d.Run("podman rm -f -t 0 -a")
	w.step("purged: nothing is left but its container")
	w.asRPM(d)
}

// maxExposure is what docs/packages.md says of the unit.
const maxExposure = 1.4

// unit breaks the agent in each way in which systemd has to help.
func (w *world) unit(d *systemdtest.Device, was string) {
	t := w.t
	t.Helper()
	invocation := service(d, "InvocationID")
	d.Kill("fleet-agent")
	eventually(t, "the agent that was killed is active again", func() error { return active(d, invocation) })
	eventually(t, "the agent that was killed answers", func() error { return w.ping(d.Name) })
	goesOn(t, d, was, "kill -9")
	w.step("killed: it is back")

	d.Run("cp -p /etc/fleet-agent/config.toml /root/right.toml && echo 'colour = \"red\"' >>/etc/fleet-agent/config.toml; systemctl restart fleet-agent || true")
	eventually(t, "a wrong configuration ends the agent", func() error {
		if is := service(d, "ActiveState") + " " + service(d, "ExecMainStatus"); is != "failed 78" {
			return fmt.Errorf("the unit is %s", is)
		}
		return nil
	})
	if said := d.Journal("fleet-agent"); !strings.Contains(said, `unknown key "metrics.colour": correct or remove it`) {
		t.Errorf("the journal does not say what is wrong:\n%s", said)
	}
	if is := service(d, "NRestarts"); is != "0" {
		t.Errorf("a wrong configuration was tried again %s times", is)
	}
	d.Run("mv /root/right.toml /etc/fleet-agent/config.toml; systemctl start fleet-agent")
	eventually(t, "the agent whose configuration was mended answers", func() error { return w.ping(d.Name) })
	goesOn(t, d, was, "a wrong configuration")
	w.step("wrong configuration: 78, failed, and started once it is mended")

	d.Run("mkdir -p /run/systemd/system/fleet-agent.service.d && printf '[Service]\\nWatchdogSec=4s\\n' >/run/systemd/system/fleet-agent.service.d/watchdog.conf && systemctl daemon-reload && systemctl restart fleet-agent")
	invocation = service(d, "InvocationID")
	d.Run("systemctl kill --kill-who=main -s STOP fleet-agent")
	eventually(t, "systemd restarts an agent that stands still", func() error { return active(d, invocation) })
	if said := d.Run("journalctl -u fleet-agent --no-pager -o cat | grep -i watchdog || true"); !strings.Contains(said, "Watchdog timeout") {
		t.Errorf("the journal says nothing of the watchdog: %s", said)
	}
	d.Run("rm -r /run/systemd/system/fleet-agent.service.d && systemctl daemon-reload")
	eventually(t, "the agent that stood still answers", func() error { return w.ping(d.Name) })
	goesOn(t, d, was, "a watchdog time-out")
	w.step("stopped: the watchdog restarts it")
}

// active says why the agent's unit is not active in another run than that.
func active(d *systemdtest.Device, before string) error {
	state, invocation := service(d, "ActiveState"), service(d, "InvocationID")
	if state != "active" || invocation == before {
		return fmt.Errorf("the unit is %s in run %s", state, invocation)
	}
	return nil
}

// ignoreDpkg leaves out what dpkg and Podman write by themselves, and the times and sizes
// of directories.
func ignoreDpkg() cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool {
		k, ok := p.Last().(cmp.MapIndex)
		if !ok {
			return false
		}
		file := k.Key().String()
		return strings.HasPrefix(file, "/var/lib/dpkg/") || strings.HasPrefix(file, "/var/lib/cni/") || strings.HasPrefix(file, "/root/")
	}, cmp.Ignore())
}
