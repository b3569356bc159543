// Package podmantest starts real Podman services for the tests of whatever runs
// containers: each with a store and a network of its own, so that nothing of the
// machine's is touched.
package podmantest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Options of a service.
type Options struct {
	// Insecure is a registry (host:port) that is asked by plain HTTP; empty is none.
	Insecure string
}

// Service is a running Podman service. It ends with the test, and its containers
// and images with it.
type Service struct {
	t       testing.TB
	dir     string
	env     []string
	process *exec.Cmd
}

// missing skips the test, or fails it where everything is required.
func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("FLEET_REQUIRE_ALL") == "1" {
		t.Fatalf("%s, and FLEET_REQUIRE_ALL=1", why)
	}
	t.Skipf("%s: apt-get install podman runc, and run as root, to test on real containers", why)
}

// Start starts a service, or skips the test where there can be none.
func Start(t testing.TB, o Options) *Service {
	t.Helper()
	if _, err := exec.LookPath("podman"); err != nil {
		missing(t, "there is no podman")
	}
	if os.Getuid() != 0 {
		missing(t, "Podman wants root for a bridge network")
	}
	// Not t.TempDir: sockets' paths are limited to 107 bytes.
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{t: t, dir: dir}
	for file, text := range s.files(o) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(dir, "c.conf"),
		"CONTAINERS_STORAGE_CONF="+filepath.Join(dir, "s.conf"), "CONTAINERS_REGISTRIES_CONF="+filepath.Join(dir, "r.conf"))
	t.Cleanup(s.remove)
	s.Up()
	return s
}

func (s *Service) files(o Options) map[string]string {
	name, network := Network()
	conf := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
exit_command_delay = 1
tmp_dir = %q
%s
[network]
network_backend = "netavark"
network_config_dir = %q
default_network = %q
`, s.path("t"), ociRuntime(), s.path("n"), name)
	store := fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", s.path("g"), s.path("r"))
	registries := "unqualified-search-registries = []\n"
	if o.Insecure != "" {
		registries += fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", o.Insecure)
	}
	return map[string]string{"c.conf": conf, "s.conf": store, "r.conf": registries, "n/" + name + ".json": network}
}

// Network is the configuration of a network of its own, for the file <name>.json
// in a network_config_dir; the name is for default_network. Stores don't know of
// each other's containers: on one bridge they would give two containers the same
// address, and under one name each would take the firewall's rules of the others
// away with its own.
func Network() (name, config string) {
	n := rand.N(1 << 16)
	name, subnet := fmt.Sprintf("fp%04x", n), fmt.Sprintf("10.%d.%d", 100+n>>8&0x7f, n&0xff)
	return name, fmt.Sprintf(`{"name":%q,"id":"%064x","driver":"bridge","network_interface":%q,
"subnets":[{"subnet":"%s.0/24","gateway":"%s.1"}],"ipv6_enabled":false,"internal":false,"dns_enabled":false,
"ipam_options":{"driver":"host-local"}}`, name, n, name, subnet, subnet)
}

// ociRuntime takes runc where there is one: crun refuses machines whose kernel
// has both versions of cgroups mounted.
func ociRuntime() string {
	if _, err := exec.LookPath("runc"); err != nil {
		return ""
	}
	return `runtime = "runc"`
}

func (s *Service) path(name string) string { return filepath.Join(s.dir, name) }

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
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
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

// CLI runs a podman command on the service's store, as a person would.
func (s *Service) CLI(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), "podman", args...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Errorf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *Service) remove() {
	s.Down()
	s.CLI("rm", "-f", "-a", "-t", "0")
	s.CLI("rmi", "-f", "-a")
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Logf("left behind: %v", err)
	}
}

// Build compiles a program of this module's into a static binary.
func (s *Service) Build(program string) string {
	s.t.Helper()
	binary := s.path(filepath.Base(program))
	build := exec.Command("go", "build", "-o", binary, program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build %s: %v\n%s", program, err, out)
	}
	return binary
}
