// Package podmantest starts real Podman services for the tests of whatever runs
// containers: each with a store and a network of its own, so that nothing of the
// machine's is touched.
package podmantest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog/needs"
)

// Options of a service.
type Options struct {
	// Insecure is a registry (host:port) that is asked by plain HTTP; empty is none.
	Insecure string
	// Internal gives the containers no way out of this machine.
	Internal bool
}

// Service is a running Podman service. It ends with the test, and its containers
// and images with it.
type Service struct {
	t       testing.TB
	home    *Home
	env     []string
	process *exec.Cmd
}

// upTimeout is for machines that do much else at the same time.
const upTimeout = 2 * time.Minute

// helperDirs are where Podman looks for its helpers.
var helperDirs = []string{"/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"}

// Install is what Debian has to be asked for, to test on real containers.
const Install = "apt-get install podman runc netavark iptables"

// Missing says why there can be no Podman for tests on this machine; it is empty
// where there can.
func Missing() string {
	if _, err := exec.LookPath("podman"); err != nil {
		return "there is no podman"
	}
	if os.Getuid() != 0 {
		return "Podman wants root for a bridge network"
	}
	if !slices.ContainsFunc(helperDirs, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "netavark"))
		return err == nil
	}) {
		return "there is a podman without netavark, which makes its networks"
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		return "there is a podman without iptables, by which netavark makes its networks"
	}
	return ""
}

// Require skips the test where there can be no Podman, or fails it where
// FLEET_REQUIRE_ALL is set.
func Require(t testing.TB) {
	t.Helper()
	if why := Missing(); why != "" {
		needs.Missing(t, "%s: %s, and run as root, to test on real containers", why, Install)
	}
}

// Start starts a service, or skips the test where there can be none.
func Start(t testing.TB, o Options) *Service {
	t.Helper()
	Require(t)
	s := &Service{t: t, home: NewHome(t, o)}
	s.env = append(os.Environ(), s.home.Env...)
	t.Cleanup(s.Down)
	s.Up()
	return s
}

func (s *Service) path(name string) string { return filepath.Join(s.home.Dir, name) }

// Socket is where the service listens, as a URI.
func (s *Service) Socket() string { return "unix://" + s.path("p.sock") }

// Up starts the service, at first or again after Down.
func (s *Service) Up() {
	s.t.Helper()
	s.process = exec.Command("podman", "system", "service", "--time=0", s.Socket())
	s.process.Env = s.env
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	for until := time.Now().Add(upTimeout); time.Now().Before(until); {
		if c, err := net.Dial("unix", s.path("p.sock")); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond) // poll
	}
	s.t.Fatal("podman's service doesn't answer")
}

// Down ends the service; its containers run on.
func (s *Service) Down() {
	s.t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Process.Kill(); err != nil {
		s.t.Error(err)
	}
	_ = s.process.Wait() // killed: that is what it says
	s.process = nil
}

// CLI runs a podman command on the service's store, as a person would. What only
// looks is tried again where it met a container that was just being removed.
func (s *Service) CLI(args ...string) string {
	s.t.Helper()
	for try := 0; ; try++ {
		cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), "podman", args...)
		cmd.Env = s.env
		out, err := cmd.CombinedOutput()
		if err != nil && args[0] == "ps" && try < 10 && MetRemoval(string(out)) {
			continue
		}
		if err != nil {
			s.t.Errorf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
}

// MetRemoval says whether Podman failed because it met a container that was just
// being removed, of which it saw one half only.
func MetRemoval(said string) bool {
	for _, text := range []string{"container not known", "no such container", "no container with"} {
		if strings.Contains(said, text) {
			return true
		}
	}
	return false
}

// Build compiles a program of this module's into a static binary.
func (s *Service) Build(program string) string {
	s.t.Helper()
	binary := s.path(filepath.Base(program))
	build := exec.Command("go", "build", "-trimpath", "-o", binary, program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build %s: %v\n%s", program, err, out)
	}
	return binary
}
