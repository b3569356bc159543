package systemdtest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// Device is a machine that no agent was ever on.
type Device struct {
	Name    string
	Address netip.Addr // the same after a reboot; sshd listens on port 22
	HostKey string     // as a line of known_hosts has it

	lab  *Lab
	t    testing.TB
	keys string // the directory of what sshd needs
}

// In gives the device to a test within the one that started it.
func (d *Device) In(t testing.TB) *Device {
	of := *d
	of.t = t
	return &of
}

// start starts the device and waits for it.
func (d *Device) start() {
	d.t.Helper()
	args := []string{
		"run", "-d", "--name", d.container(), "--hostname", d.Name, "--network", d.lab.home.Network, "--ip", d.Address.String(), "--dns", "none",
		"--privileged", "--systemd=always", "--pids-limit", "-1", "-v", d.container() + ":/var/lib/containers", "-v", d.keys + ":/etc/ssh/test:ro",
	}
	groups, err := controlGroups()
	if err != nil {
		d.t.Error(err)
		return
	}
	if _, err := d.lab.try(nil, append(append(args, groups...), d.lab.image, "/sbin/init")...); err != nil {
		d.t.Error(err)
		return
	}
	d.await()
}

// container is the name of the device's container and of its volume.
func (d *Device) container() string { return "device-" + d.Name }

// controlGroups are the options that give a device's systemd its control groups. Where
// the machine has version 1, the hierarchies are mounted one by one: of a mount of them
// all, a device's systemd would make the machine's own read-only.
func controlGroups() ([]string, error) {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return nil, nil
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return nil, err
	}
	options := []string{"--cgroupns=host", "--tmpfs", "/sys/fs/cgroup:rw,mode=755"}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], "/sys/fs/cgroup/") {
			options = append(options, "-v", f[1]+":"+f[1]+":rw")
		}
	}
	return options, nil
}

// await waits until all of the device's own units run and sshd listens.
func (d *Device) await() {
	d.t.Helper()
	poll(d.t, d.Name+" has booted", bootTimeout, func() error {
		out, err := d.Try("systemctl is-system-running")
		if s := strings.TrimSpace(out); s == "running" || s == "degraded" { // degraded: a unit of the test's own may fail
			return nil
		}
		return fmt.Errorf("%s: %w", out, err)
	})
	poll(d.t, d.Name+" takes SSH connections", bootTimeout, func() error {
		out, err := d.Try("systemctl is-active ssh")
		if err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		return nil
	})
}

// remove shuts the device down and removes it. Of a test that failed it first tells what
// the device's agent said.
func (d *Device) remove() {
	if d.t.Failed() {
		out, err := d.Try("systemctl --failed --no-legend; journalctl -n 30 --no-pager -o short-iso _SYSTEMD_UNIT=fleet-agent.service + SYSLOG_IDENTIFIER=fleet-enroll")
		d.t.Logf("%s: %s (%v)", d.Name, out, err)
	}
	// On a machine that does much else its processes may outlive Podman's patience.
	poll(d.t, d.Name+" is removed", bootTimeout, func() error {
		_, err := d.lab.try(nil, "rm", "-f", "-i", "-t", stopTimeout, "--volumes", d.container())
		return err
	})
}

// Try runs a command by the device's shell, as root, and gives what it prints.
func (d *Device) Try(command string) (string, error) {
	return d.lab.try(nil, "exec", d.container(), "sh", "-c", command)
}

// Run runs a command that must succeed.
func (d *Device) Run(command string) string {
	d.t.Helper()
	return d.Feed(nil, command)
}

// Feed runs a command that reads input and must succeed.
func (d *Device) Feed(input []byte, command string) string {
	d.t.Helper()
	out, err := d.lab.try(input, "exec", "-i", d.container(), "sh", "-c", command)
	if err != nil {
		d.t.Fatalf("on %s: %v", d.Name, err)
	}
	return out
}

// KnownHost is the device's line of known_hosts.
func (d *Device) KnownHost() string { return d.Address.String() + " " + d.HostKey + "\n" }

// SSH is where sshd listens.
func (d *Device) SSH() string { return net.JoinHostPort(d.Address.String(), "22") }

// Journal is the end of what a unit said since the device booted.
func (d *Device) Journal(unit string) string {
	out, err := d.Try("journalctl --no-pager -o cat -n 200 -u " + unit)
	if err != nil {
		return err.Error()
	}
	return out
}

// Reboot shuts the device down, starts it, and waits until it has booted. It may be called
// from any goroutine.
func (d *Device) Reboot() {
	d.t.Helper()
	if _, err := d.lab.try(nil, "restart", "-t", stopTimeout, d.container()); err != nil {
		d.t.Error(err)
		return
	}
	d.await()
}

// Kill sends SIGKILL to the main process of a unit.
func (d *Device) Kill(unit string) {
	d.t.Helper()
	d.Run("systemctl kill --kill-who=main -s KILL " + unit)
}

// CutNetwork pulls the cable out. It stays out over a reboot.
func (d *Device) CutNetwork() {
	d.t.Helper()
	d.lab.podman("network", "disconnect", d.lab.home.Network, d.container())
	if d.reach() == nil {
		d.t.Fatal(d.Name + " is reached without a network")
	}
}

// reach says why sshd is not reached.
func (d *Device) reach() error {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(d.t.Context(), "tcp", d.SSH())
	if err != nil {
		return err
	}
	return c.Close()
}

// RestoreNetwork puts it back in.
func (d *Device) RestoreNetwork() {
	d.t.Helper()
	d.lab.podman("network", "connect", "--ip", d.Address.String(), d.lab.home.Network, d.container())
	poll(d.t, d.Name+" is reached again", bootTimeout, d.reach)
}
