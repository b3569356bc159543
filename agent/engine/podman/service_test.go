package podman_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/podman"
	"fleet.nationtech.io/agent/hello"
)

// image is the fixture's name in the test's own store.
const image = hello.Repository + ":1"

// service is a Podman service with a store of its own, so that tests touch
// nothing of the machine's.
type service struct {
	dir     string
	env     []string
	socket  string
	process *exec.Cmd
}

// missing skips the test, or fails it where everything is required.
func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("FLEET_REQUIRE_ALL") == "1" {
		t.Fatalf("%s, and FLEET_REQUIRE_ALL=1", why)
	}
	t.Skipf("%s: apt-get install podman runc, and run as root, to test the real engine", why)
}

// startService starts a service and puts the fixture's image into its store.
// insecure is a registry that is asked by plain HTTP.
func startService(t *testing.T, insecure string) *service {
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
	s := &service{dir: dir, socket: filepath.Join(dir, "p.sock")}
	conf := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = %q
%s
[network]
default_subnet = "10.91.0.0/16"
network_config_dir = %q
`, filepath.Join(dir, "t"), runtime(), filepath.Join(dir, "n"))
	store := fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(dir, "g"), filepath.Join(dir, "r"))
	registries := fmt.Sprintf("unqualified-search-registries = []\n[[registry]]\nlocation = %q\ninsecure = true\n", insecure)
	for file, text := range map[string]string{"c.conf": conf, "s.conf": store, "r.conf": registries} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(dir, "c.conf"),
		"CONTAINERS_STORAGE_CONF="+filepath.Join(dir, "s.conf"), "CONTAINERS_REGISTRIES_CONF="+filepath.Join(dir, "r.conf"))
	t.Cleanup(func() {
		s.stop(t)
		s.cli(t, "rm", "-f", "-a", "-t", "0")
		s.cli(t, "rmi", "-f", "-a")
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("left behind: %v", err)
		}
	})
	s.start(t)
	binary := filepath.Join(dir, "fixture")
	build := exec.Command("go", "build", "-o", binary, "fleet.nationtech.io/agent/engine/enginetest/fixture")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the fixture: %v\n%s", err, out)
	}
	if err := hello.Load(t.Context(), "unix://"+s.socket, binary); err != nil {
		t.Fatal(err)
	}
	return s
}

// runtime takes runc where there is one: crun refuses machines whose kernel has
// both versions of cgroups mounted.
func runtime() string {
	if _, err := exec.LookPath("runc"); err != nil {
		return ""
	}
	return `runtime = "runc"`
}

func (s *service) start(t *testing.T) {
	t.Helper()
	s.process = exec.Command("podman", "system", "service", "--time=0", "unix://"+s.socket)
	s.process.Env = s.env
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		if c, err := net.Dial("unix", s.socket); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("podman's service doesn't answer")
}

func (s *service) stop(t *testing.T) {
	t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = s.process.Wait() // killed: that is what it says
	s.process = nil
}

// cli runs a podman command on the test's store, as a person would.
func (s *service) cli(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "podman", args...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *service) engine(t *testing.T, device string) engine.Engine {
	t.Helper()
	p, err := podman.New(podman.Options{Device: device, Socket: "unix://" + s.socket, DataDir: filepath.Join(s.dir, "d", device)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
