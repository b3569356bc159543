//go:build e2e

package enrolment_test

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
)

// Whatever is wrong, a person is told in a sentence what to do, and the device is as it
// was, or the enrolment goes on where it was broken off. The provider shows new users and
// keys after 5 s only.
func TestABrokenEnrolmentSaysWhatToDoAndGoesOn(t *testing.T) {
	w := newWorld(t, 5*time.Second, []string{"broken-01", "alive-01"})
	broken, alive := w.devices[0], w.devices[1]
	id := broken.Name
	enrol := func(more ...string) result {
		return w.fleetctl(append(append([]string{"enroll", target(broken), "--id", id, "-o", "text"}, w.mintedFlags()...), more...)...)
	}
	weak := w.serviceAccount("weak")
	_, err := w.provider.AddUser(devprovider.User{ID: "of-people", Organization: peopleOrganization, Machine: true})
	w.must(err)
	if r := w.fleetctl(append([]string{"enroll", target(alive), "--id", alive.Name}, w.mintedFlags()...)...); r.code != 0 {
		t.Fatalf("the other device: %s", r)
	}

	nothing := func(*systemdtest.Device) {}
	for _, test := range []struct {
		name       string
		fault, end func(*systemdtest.Device)
		flags      []string
		says, try  string
	}{
		{
			name:  "there is no Podman",
			fault: func(d *systemdtest.Device) { d.Hide("/usr/bin/podman") }, end: func(d *systemdtest.Device) { d.Restore("/usr/bin/podman") },
			says: "the device has no Podman", try: "apt-get install podman",
		},
		{
			name: "the architecture is one that the agent is not made for",
			fault: func(d *systemdtest.Device) {
				d.Pretend("uname", `[ "$1" = -m ] && echo riscv64 || exec /usr/bin/uname "$@"`)
			},
			end:  func(d *systemdtest.Device) { d.StopPretending("uname") },
			says: "riscv64", try: "x86_64, aarch64 or armv7l",
		},
		{
			name:  "the clock is two years behind",
			fault: func(d *systemdtest.Device) { d.Pretend("date", `exec /usr/bin/date -d "2 years ago" "$@"`) },
			end:   func(d *systemdtest.Device) { d.StopPretending("date") },
			says:  "days behind", try: "timedatectl",
		},
		{
			name:  "the disk is full",
			fault: func(d *systemdtest.Device) { d.FillDisk("/usr/local/bin") }, end: func(d *systemdtest.Device) { d.FreeDisk("/usr/local/bin") },
			says: "0 MB free", try: "make room",
		},
		{
			name: "the device does not reach NATS", fault: nothing, end: nothing,
			flags: []string{"--device-url", "tls://" + w.lab.Gateway().String() + ":9"},
			says:  "does not reach the NATS server", try: "--device-url",
		},
		{
			name: "the account may not manage the devices' users", fault: nothing, end: nothing,
			flags: []string{"--admin-key-file", weak}, says: "provider", try: "ORG_USER_MANAGER",
		},
		{
			name:  "the provider is away",
			fault: func(*systemdtest.Device) { w.provider.SetFault(&devprovider.Fault{Status: 503}) }, end: func(*systemdtest.Device) { w.provider.SetFault(nil) },
			says: "503", try: "",
		},
		{
			name: "the id is another organization's", fault: nothing, end: nothing,
			flags: []string{"--id", "of-people"}, says: "another organization", try: "--id",
		},
		{
			name: "the id is another machine's that is alive", fault: nothing, end: nothing,
			flags: []string{"--id", alive.Name}, says: "alive", try: "--replace",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := broken.In(t)
			before := d.Files()
			test.fault(d)
			r := enrol(test.flags...)
			test.end(d)
			if said := r.out + r.err; r.code != 1 || !strings.Contains(said, test.says) || !strings.Contains(said, test.try) {
				t.Errorf("got %s, want exit 1 with %q and %q", r, test.says, test.try)
			} else {
				t.Logf("%s", r.err)
			}
			if diff := cmp.Diff(before, d.Files()); diff != "" {
				t.Errorf("the device is not as it was (-before +after):\n%s", diff)
			}
		})
	}
	if err := w.ping(alive.Name); err != nil {
		t.Error(err)
	}

	// The connection is cut within the agent's binary, and then after each line: each
	// run goes on where the one before was cut.
	p := newProxy(t, broken.SSH())
	w.know(strings.Replace(broken.KnownHost(), broken.Address.String(), knownName(p.address()), 1))
	args := append([]string{"enroll", "ssh://" + systemdtest.User + "@" + p.address(), "--id", id, "-o", "text"}, w.mintedFlags()...)
	p.cutAfter(4 << 20)
	if r := w.fleetctl(args...); r.code == 0 {
		t.Errorf("cut within the binary: %s", r)
	} else {
		t.Logf("cut within the binary: %s", r.err)
	}
	p.cutAfter(0)
	cuts := 0
	for line := 1; ; line++ {
		r := w.cutAtLine(p, line, args...)
		if r.code == 0 {
			break
		}
		cuts++
		if !strings.Contains(r.err, "again") {
			t.Errorf("cut after line %d: %s", line, r)
		}
		if line == 40 {
			t.Fatalf("still not enrolled: %s", r)
		}
	}
	t.Logf("cut %d times", cuts)
	if err := w.ping(id); err != nil {
		t.Error(err)
	}
	if r := enrol(); r.code != 0 || !strings.Contains(r.out, "nothing was changed") {
		t.Errorf("enrolled again: %s", r)
	}
	if out := broken.Run("find /usr/local/bin /etc/fleet-agent /etc/systemd/system -name '*fleet*new*' -o -name '*.pending'"); out != "" {
		t.Errorf("left over: %s", out)
	}

	// The machine that leaves takes the place of the other one.
	if r := w.fleetctl(append([]string{"unenroll", target(broken), "--yes"}, w.adminFlags()...)...); r.code != 0 {
		t.Fatalf("unenrol: %s", r)
	}
	if r := enrol("--id", alive.Name, "--replace"); r.code != 0 {
		t.Errorf("take the other machine's place: %s", r)
	}
	key := broken.Run("cat /etc/fleet-agent/zitadel-key.json | tr , '\n' | grep keyId")
	if other := alive.Run("cat /etc/fleet-agent/zitadel-key.json | tr , '\n' | grep keyId"); other == key {
		t.Errorf("two machines have the key %s", key)
	}
	w.eventually("the place is taken", func() error { return w.ping(alive.Name) })
}

// cutAtLine runs fleetctl by a proxy, which cuts all connections once that many lines
// were printed.
func (w *world) cutAtLine(p *proxy, line int, args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	c := w.command(ctx, args...)
	var said bytes.Buffer
	c.Stderr = &said
	pipe, err := c.StdoutPipe()
	w.must(err)
	w.must(c.Start())
	var out strings.Builder
	lines := bufio.NewScanner(pipe)
	for n := 1; lines.Scan(); n++ {
		out.WriteString(lines.Text() + "\n")
		if n == line {
			p.cut()
		}
	}
	_ = c.Wait() // the exit code tells
	if ctx.Err() != nil {
		w.t.Fatalf("fleetctl does not end: %s%s", out.String(), said.String())
	}
	return result{c.ProcessState.ExitCode(), out.String(), said.String()}
}

// writeFile writes a file of the person who enrols.
func (w *world) writeFile(name, text string) string {
	w.t.Helper()
	file := filepath.Join(w.home, name)
	w.must(os.WriteFile(file, []byte(text), 0o600))
	return file
}
