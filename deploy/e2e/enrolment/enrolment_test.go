//go:build e2e

package enrolment_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/sampleimage"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
)

// Three blank devices join at the same time, one in each flavour, one of them over
// WebSocket. A Deployment runs in their own Podman; they come back after a reboot, also
// without a network and with an update that waits for them; enrolled again nothing
// changes; once they have left, nothing is left on them; and one that left joins again.
func TestThreeBlankDevicesJoinWorkAndLeave(t *testing.T) {
	w := newWorld(t, 0, []string{"shared-01", "jwt-01", "zitadel-01"}, "shared-01")
	began := time.Now()
	step := func(what string) { t.Logf("%6.1f s: %s", time.Since(began).Seconds(), what) }
	shared, premade, minted := w.devices[0], w.devices[1], w.devices[2]
	blank := map[string]map[string]string{}
	for _, d := range w.devices {
		blank[d.Name] = d.Files()
	}

	flags := map[string][]string{
		shared.Name:  w.sharedFlags(shared.Name),
		premade.Name: w.premadeFlags(premade.Name),
		minted.Name:  append(w.mintedFlags(), "--device-url", w.webSocket, "--bundle", bundled(t)),
	}
	enrol := func(d *systemdtest.Device, more ...string) result {
		return w.fleetctl(append(append([]string{"enroll", target(d), "--id", d.Name, "-l", "site=lab"}, flags[d.Name]...), more...)...)
	}
	var enrolling sync.WaitGroup
	for _, d := range w.devices {
		enrolling.Go(func() {
			if r := enrol(d); r.code != 0 {
				t.Errorf("enrol %s: %s", d.Name, r)
			}
		})
	}
	enrolling.Wait()
	if t.Failed() {
		t.FailNow()
	}
	step("three devices are enrolled")
	for _, d := range w.devices {
		if err := w.ping(d.Name); err != nil {
			t.Error(err)
		}
	}

	sampletest.Load(t, w.devices...)
	w.apply("hello", "1")
	w.ready("hello", 3)
	for _, d := range w.devices {
		w.answers(d, "1")
	}
	step("the Deployment runs on three devices")

	before := w.unitsAndContainers()
	for _, d := range w.devices {
		files := d.Files()
		if r := enrol(d, "-o", "text"); r.code != 0 || !strings.Contains(r.out, "nothing was changed") {
			t.Errorf("enrol %s again: %s", d.Name, r)
		}
		if diff := cmp.Diff(files, d.Files(), ignoreState()); diff != "" {
			t.Errorf("enrolled again, %s has other files (-before +after):\n%s", d.Name, diff)
		}
	}
	if diff := cmp.Diff(before, w.unitsAndContainers()); diff != "" {
		t.Errorf("enrolled again, units or containers are others (-before +after):\n%s", diff)
	}
	step("enrolled again, nothing changed")

	premade.CutNetwork()
	w.apply("hello", "2")
	var rebooting sync.WaitGroup
	for _, d := range w.devices {
		rebooting.Go(func() { d.Reboot() })
	}
	rebooting.Wait()
	step("three devices rebooted, one of them without a network")
	w.eventually("without a network the device runs what it ran", func() error { return running(premade, "1") })
	for _, d := range []*systemdtest.Device{shared, minted} {
		w.answers(d, "2")
	}
	premade.RestoreNetwork()
	w.ready("hello", 3)
	w.answers(premade, "2")
	step("the update that waited is there")

	shared.Kill("fleet-agent")
	w.eventually("the agent that was killed answers", func() error { return w.ping(shared.Name) })

	for _, d := range w.devices {
		if r := w.fleetctl(append([]string{"unenroll", target(d), "--yes", "--reason", "the test is over"}, w.adminFlags()...)...); r.code != 0 {
			t.Errorf("unenrol %s: %s", d.Name, r)
		}
		if out := d.Run("podman ps -aq"); out != "" {
			t.Errorf("%s still has containers: %s", d.Name, out)
		}
		if diff := cmp.Diff(blank[d.Name], d.Files()); diff != "" {
			t.Errorf("%s left, and has other files than before (-before +after):\n%s", d.Name, diff)
		}
		if err := w.ping(d.Name); err == nil {
			t.Errorf("%s left, and answers", d.Name)
		}
	}
	step("three devices left")

	// It was decommissioned, and its machine user was deactivated.
	if r := enrol(minted); r.code != 1 || !strings.Contains(r.err, "fleetctl device allow "+minted.Name) {
		t.Errorf("enrol %s after it left: %s", minted.Name, r)
	}
	if r := w.fleetctl("device", "allow", minted.Name); r.code != 0 {
		t.Errorf("allow %s: %s", minted.Name, r)
	}
	if r := enrol(minted); r.code != 0 {
		t.Errorf("enrol %s after it left: %s", minted.Name, r)
	} else if err := w.ping(minted.Name); err != nil {
		t.Error(err)
	}
	step("one of them joined again")
}

// target is the device as fleetctl is told it.
func target(d *systemdtest.Device) string { return "ssh://" + systemdtest.User + "@" + d.SSH() }

// sharedFlags have a device come in by a user and a password of the servers'.
func (w *world) sharedFlags(id string) []string {
	w.t.Helper()
	password, ok := w.users.DevicePassword(id)
	if !ok {
		w.t.Fatalf("%s has no password", id)
	}
	file := filepath.Join(w.t.TempDir(), "password")
	w.must(os.WriteFile(file, []byte(password+"\n"), 0o600))
	return []string{"--auth", "shared", "--device-password-file", file}
}

// premadeFlags have a device come in by a key that was made before.
func (w *world) premadeFlags(id string) []string {
	w.t.Helper()
	_, err := w.provider.AddUser(devprovider.User{ID: id, Organization: devicesOrganization, Machine: true, TokenType: devprovider.JWT})
	w.must(err)
	key, err := w.provider.AddKey(id, time.Now().AddDate(2, 0, 0))
	w.must(err)
	file := filepath.Join(w.t.TempDir(), id+".json")
	w.must(os.WriteFile(file, key, 0o600))
	return append([]string{"--auth", "zitadel-jwt", "--key", file}, w.providerFlags()...)
}

// providerFlags say which provider devices ask for tokens.
func (w *world) providerFlags() []string {
	return []string{"--issuer", w.provider.Issuer(), "--project", project}
}

// mintedFlags have a device make its key itself.
func (w *world) mintedFlags() []string {
	return append([]string{"--auth", "zitadel"}, w.adminFlags()...)
}

// adminFlags say who manages the devices' users at the provider.
func (w *world) adminFlags() []string {
	return append([]string{"--admin-key-file", w.adminKey, "--organization", devicesOrganization}, w.providerFlags()...)
}

// answers waits until the Deployment's container on a device answers as that version.
func (w *world) answers(d *systemdtest.Device, version string) {
	w.t.Helper()
	client := http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	w.eventually("version "+version+" answers on "+d.Name, func() error {
		r, err := client.Get("http://" + net.JoinHostPort(d.Address.String(), "8080") + "/")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil || !strings.Contains(string(b), "(fleet-hello "+version+")") {
			return fmt.Errorf("%q: %w", b, err)
		}
		return nil
	})
}

// running says whether a device's Podman runs one container, of that version.
func running(d *systemdtest.Device, version string) error {
	out, err := d.Try("podman ps --format '{{.Image}}'")
	if err != nil || out != sampleimage.Repository+":"+version {
		return fmt.Errorf("%q: %w", out, err)
	}
	return nil
}

// unitsAndContainers is what would be another one if a device's agent or a container had
// been started again.
func (w *world) unitsAndContainers() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, d := range w.devices {
		all[d.Name] = d.Run("systemctl show -P ExecMainStartTimestampMonotonic fleet-agent; podman ps --no-trunc --format '{{.ID}} {{.Created}}' | cut -d' ' -f1")
	}
	return all
}

// ignoreState leaves out what an agent writes by itself.
func ignoreState() cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool {
		k, ok := p.Last().(cmp.MapIndex)
		return ok && strings.HasPrefix(k.Key().String(), "/var/lib/fleet-agent/")
	}, cmp.Ignore())
}
