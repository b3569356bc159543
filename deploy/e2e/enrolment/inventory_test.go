//go:build e2e

package enrolment_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
)

// Of twenty devices of an inventory, half are broken, each in its own way. The other half
// joins, and the summary names each cause. The person signs in once. Ten systemd devices
// and two that are broken are what the kernel's inotify limit allows for; where SSH itself
// is broken no device is needed.
func TestOfTwentyDevicesTheGoodHalfJoinsAndEachCauseIsNamed(t *testing.T) {
	var names []string
	for i := range good {
		names = append(names, fmt.Sprintf("good-%02d", i+1))
	}
	w := newWorld(t, 0, append(names, "bare", "plain"))
	bare, plain := w.devices[good], w.devices[good+1]
	bare.Hide("/usr/bin/podman")
	plain.Run("useradd -m guest && mkdir -m 700 /home/guest/.ssh && chown guest: /home/guest/.ssh")
	_, err := w.provider.AddUser(devprovider.User{ID: "bad-person", Organization: peopleOrganization, Machine: true})
	w.must(err)
	app, err := w.provider.AddApplication(devprovider.Application{Project: project, Native: true})
	w.must(err)
	admin, err := w.provider.AddUser(devprovider.User{ID: "anna", Organization: devicesOrganization, Name: "Anna"})
	w.must(err)
	w.provider.AddAdministrator(admin, devicesOrganization, "ORG_USER_MANAGER")

	nobody := plain.Address.Next().Next().String() // an address of the devices' network that no device has
	refuses, other, stranger := refusing(t), changed(t), refusing(t)
	w.know(refuses.known, other.known)
	// What is said of each broken device.
	bad := []struct{ id, host, says string }{
		{"bad-port", closedPort(t).hostPort, "does sshd run there"},
		{"bad-address", nobody, "no route|no answer"},
		{"bad-silent", silent(t).hostPort, "no answer within"},
		{"bad-web", web(t).hostPort, "SSH"},
		{"bad-login", refuses.hostPort, "ssh-copy-id"},
		{"bad-key", other.hostPort, "shows another key"},
		{"bad-stranger", stranger.hostPort, "is not in .*known_hosts"},
		{"bad-podman", bare.SSH(), "no Podman"},
		{"bad-guest", "guest@" + plain.SSH(), "sudo wants a password"},
		{"bad-person", plain.SSH(), "another organization"},
	}
	var text strings.Builder
	text.WriteString("defaults:\n  user: " + systemdtest.User + "\n  labels: {site: lab}\nhosts:\n")
	for _, d := range w.devices[:good] {
		fmt.Fprintf(&text, "  - {host: %q, id: %s}\n", d.Address, d.Name)
	}
	for _, b := range bad {
		fmt.Fprintf(&text, "  - {host: %q, id: %s}\n", b.host, b.id)
	}

	s := w.enrolAll(admin, "--inventory", w.writeFile("hosts.yaml", text.String()), "--client-id", app, "--organization", devicesOrganization,
		"--issuer", w.provider.Issuer(), "--project", project, "--connect-timeout", "8s", "--parallel", "6")
	if s.OK != good || s.Failed != len(bad) {
		t.Errorf("%d are enrolled and %d are not, want %d and %d", s.OK, s.Failed, good, len(bad))
	}
	said := map[string]outcome{}
	for _, o := range s.Devices {
		said[o.Device] = o
	}
	for _, d := range w.devices[:good] {
		if o := said[d.Name]; !o.OK {
			t.Errorf("%s: %+v", d.Name, o)
		} else if err := w.ping(d.Name); err != nil {
			t.Error(err)
		}
	}
	for _, b := range bad {
		o := said[b.id]
		if o.OK || !regexp.MustCompile(b.says).MatchString(o.Error) {
			t.Errorf("%s: got %+v, want what matches %q", b.id, o, b.says)
		}
		t.Logf("%s: %s; try: %s (%.1f s)", b.id, o.Error, o.Try, o.Seconds)
	}
}

const good = 10

// outcome is what is said of one device of an inventory.
type outcome struct {
	Device  string  `json:"device"`
	OK      bool    `json:"ok"`
	Error   string  `json:"error"`
	Try     string  `json:"try"`
	Seconds float64 `json:"seconds"`
}

type summary struct {
	Devices []outcome `json:"devices"`
	OK      int       `json:"ok"`
	Failed  int       `json:"failed"`
}

// enrolAll enrols an inventory, of which some fail, and has a person approve the sign-in.
func (w *world) enrolAll(person string, args ...string) (s summary) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*timeout)
	defer cancel()
	c := w.command(ctx, append([]string{"enroll", "-o", "json"}, args...)...)
	var out strings.Builder
	c.Stdout = &out
	pipe, err := c.StderrPipe()
	w.must(err)
	w.must(c.Start())
	code := regexp.MustCompile(`code ([B-Z]{4}-[B-Z]{4})`)
	var said strings.Builder
	prompts := 0
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if m := code.FindStringSubmatch(lines.Text()); m != nil {
			prompts++
			w.must(w.provider.Approve(m[1], person))
		}
	}
	_, _ = io.Copy(io.Discard, pipe) // what is left of a long line
	_ = c.Wait()                     // the exit code tells
	if code := c.ProcessState.ExitCode(); code != 1 || prompts != 1 {
		w.t.Fatalf("exit %d after %d prompts, want 1 after 1: %s%s", code, prompts, out.String(), said.String())
	}
	if err := json.Unmarshal([]byte(out.String()), &s); err != nil {
		w.t.Fatalf("%v in %s%s", err, out.String(), said.String())
	}
	return s
}
