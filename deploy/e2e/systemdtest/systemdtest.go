// Package systemdtest runs Debian devices with systemd, sshd and a Podman of their own,
// as containers, for end-to-end tests.
package systemdtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleet.nationtech.io/agent/engine/podmantest"
)

// User is the person on each device. It may become root without a password.
const User = "pi"

const (
	// bootTimeout is for machines that do much else at the same time; a device boots in
	// a second.
	bootTimeout = 2 * time.Minute
	// podmanTimeout bounds each command of Podman's.
	podmanTimeout = 2 * time.Minute
	// stopTimeout is how long a device may take to shut down, in seconds. A device that
	// is killed leaves the control groups of its containers behind.
	stopTimeout = "10"
)

// Lab is a network of devices that ends within this machine.
type Lab struct {
	// KeyFile lets User in on each device: a private key of OpenSSH's.
	KeyFile string

	t       testing.TB
	home    *podmantest.Home
	image   string
	public  string // of KeyFile, as a line of authorized_keys
	devices []*Device
}

// New makes a lab without devices. It ends with the test, with all its devices. The test
// is skipped where this machine cannot run them.
func New(t testing.TB) *Lab {
	t.Helper()
	podmantest.Require(t)
	l := &Lab{t: t, home: podmantest.NewHome(t, podmantest.Options{Internal: true}), image: "localhost/device:1"}
	l.podman("import", "--quiet", rootFileSystem(t), l.image)
	l.KeyFile = filepath.Join(t.TempDir(), "id_ed25519")
	l.public = newKey(t, l.KeyFile)
	t.Cleanup(l.end)
	return l
}

// Gateway is the address of this machine that devices reach. It exists while there are
// devices.
func (l *Lab) Gateway() netip.Addr { return l.home.Subnet.Addr().Next() }

// Start starts devices at the same time and waits until they have booted and take SSH
// connections.
func (l *Lab) Start(names ...string) []*Device {
	l.t.Helper()
	all := make([]*Device, len(names))
	for i, name := range names {
		all[i] = l.add(name)
	}
	var starting sync.WaitGroup
	for _, d := range all {
		starting.Go(d.start)
	}
	starting.Wait()
	if l.t.Failed() {
		l.t.FailNow()
	}
	return all
}

// add gives a device its address and its host key.
func (l *Lab) add(name string) *Device {
	l.t.Helper()
	address := l.Gateway()
	const first = 10 // below it are addresses that Podman gives by itself
	for range first + len(l.devices) {
		address = address.Next()
	}
	d := &Device{Name: name, Address: address, lab: l, t: l.t, keys: l.t.TempDir()}
	d.HostKey = strings.TrimSpace(newKey(l.t, filepath.Join(d.keys, "host_key")))
	// sshd reads it as the person who comes in.
	if err := os.WriteFile(filepath.Join(d.keys, "authorized_keys"), []byte(l.public), 0o644); err != nil {
		l.t.Fatal(err)
	}
	l.devices = append(l.devices, d)
	return d
}

// end removes all devices.
func (l *Lab) end() {
	var ending sync.WaitGroup
	for _, d := range l.devices {
		ending.Go(d.remove)
	}
	ending.Wait()
}

// podman runs a command that must succeed.
func (l *Lab) podman(args ...string) string {
	l.t.Helper()
	out, err := l.try(nil, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// try runs a command of Podman's and gives what it prints on its standard output.
func (l *Lab) try(input []byte, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), podmanTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "podman", args...)
	cmd.Env = append(os.Environ(), l.home.Env...)
	cmd.WaitDelay = time.Second // what it started may hold its output open
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &said
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("podman %s: %w: %s%s", strings.Join(args, " "), err, out.String(), said.String())
	}
	return strings.TrimSuffix(out.String(), "\n"), err
}

// newKey makes a key pair, writes the private key to a file, and gives the public one as
// a line of authorized_keys.
func newKey(t testing.TB, file string) (public string) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "made by a test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err = errors.Join(err, os.WriteFile(file, pem.EncodeToMemory(block), 0o600)); err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(key))
}

// poll asks until something is so, and fails the test with the last error where it never
// is. It may be called from any goroutine.
func poll(t testing.TB, what string, timeout time.Duration, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(timeout); ; time.Sleep(100 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("not within %s: %s: %v", timeout, what, err)
			return
		}
	}
}
