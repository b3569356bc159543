package dev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"fleet.nationtech.io/deploy/secretfile"
)

// podmanService is a Podman socket: one that was there, or one whose service is
// our child and ends with us.
type podmanService struct {
	URI   string
	child *exec.Cmd
	ended chan struct{} // closed when the child has, and what was its own is gone
}

// findPodman looks for a Podman that answers: $CONTAINER_HOST, then the system's
// socket, then the user's, then a service of our own if podman is installed.
func findPodman(ctx context.Context, dataDir string) (*podmanService, error) {
	if host := os.Getenv("CONTAINER_HOST"); host != "" {
		if err := answers(ctx, host); err != nil {
			return nil, fmt.Errorf("CONTAINER_HOST=%s: %w", host, err)
		}
		return &podmanService{URI: host}, nil
	}
	for _, sock := range []string{"/run/podman/podman.sock", filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "podman", "podman.sock")} {
		if uri := "unix://" + sock; filepath.IsAbs(sock) && answers(ctx, uri) == nil {
			return &podmanService{URI: uri}, nil
		}
	}
	path, err := exec.LookPath("podman")
	if err != nil {
		return nil, errors.New("no Podman socket answers and podman is not installed (Debian: apt-get install podman runc)")
	}
	return startPodman(ctx, path, dataDir)
}

// startPodman runs podman's own service for as long as we live. When we are
// killed, the kernel sends it SIGTERM, not SIGKILL: Podman then finishes what it
// has in hand, where a kill could leave a container that exists by half.
func startPodman(ctx context.Context, podman, dataDir string) (*podmanService, error) {
	dir, err := socketDir(dataDir)
	if err != nil {
		return nil, fmt.Errorf("podman service: %w", err)
	}
	sock := filepath.Join(dir, "podman.sock")
	cmd := exec.CommandContext(context.WithoutCancel(ctx), podman, "system", "service", "--time=0", "unix://"+sock)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CONTAINER_HOST=") { // even an empty one makes podman a client
			cmd.Env = append(cmd.Env, kv)
		}
	}
	if conf, err := containersConf(dataDir); err != nil {
		return nil, err
	} else if conf != "" {
		cmd.Env = append(cmd.Env, "CONTAINERS_CONF="+conf)
	}
	log, err := os.OpenFile(filepath.Join(dataDir, "podman.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("podman service: %w", err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error, 1)
	s := &podmanService{URI: "unix://" + sock, child: cmd, ended: make(chan struct{})}
	go s.hold(started, dir)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("podman service: %w", err)
	}
	deadline, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for answers(deadline, s.URI) != nil {
		select {
		case <-tick.C:
		case <-deadline.Done():
			s.stop()
			said, rerr := os.ReadFile(filepath.Join(dataDir, "podman.log"))
			if rerr != nil {
				said = []byte(rerr.Error())
			}
			return nil, fmt.Errorf("podman service does not answer; it says: %s", strings.TrimSpace(string(said)))
		}
	}
	return s, nil
}

// hold starts the child and waits for it on one thread: the kernel sends the
// death signal when the thread that started a child ends, not the process.
func (s *podmanService) hold(started chan<- error, dir string) {
	runtime.LockOSThread()
	defer close(s.ended)
	err := s.child.Start()
	started <- err
	if err != nil {
		return
	}
	_ = s.child.Wait() // it ends by our signal; how does not matter
	_ = os.RemoveAll(dir)
}

// podmanPatience is how long a service may finish what it has in hand. After that
// it ends by itself, without us.
const podmanPatience = 20 * time.Second

func (s *podmanService) stop() {
	if s.child == nil || s.child.Process == nil {
		return
	}
	_ = s.child.Process.Signal(syscall.SIGTERM) // gone already is as good
	select {
	case <-s.ended:
	case <-time.After(podmanPatience):
	}
}

// socketPrefix is what the directories of our services' sockets begin with.
const socketPrefix = "fleet-podman-"

// socketDir makes a directory for a service's socket, outside the data directory,
// as a socket's path is limited to 107 bytes. That of a fleet that was killed is
// removed.
func socketDir(dataDir string) (string, error) {
	remembered := filepath.Join(dataDir, "podman.dir")
	if b, err := os.ReadFile(remembered); err == nil && strings.HasPrefix(filepath.Base(string(b)), socketPrefix) {
		if err := os.RemoveAll(string(b)); err != nil {
			return "", err
		}
	}
	dir, err := os.MkdirTemp("", socketPrefix)
	if err != nil {
		return "", err
	}
	return dir, secretfile.Write(remembered, []byte(dir))
}

// containersConf makes Podman use runc where crun cannot run: as root without
// systemd, on hybrid cgroups. Where the person has a configuration of their own,
// or systemd runs, nothing is changed.
func containersConf(dataDir string) (string, error) {
	if os.Getenv("CONTAINERS_CONF") != "" || os.Geteuid() != 0 {
		return "", nil
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return "", nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("podman service: %w", err)
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return "", nil //nolint:nilerr // then Podman's own choice has to do
	}
	file := filepath.Join(dataDir, "containers.conf")
	const text = `# Made by fleet-dev for a machine without systemd.
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
exit_command_delay = 5
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("podman service: %w", err)
	}
	return file, nil
}

// answers asks a socket for a sign of life.
func answers(ctx context.Context, uri string) error {
	path, ok := strings.CutPrefix(uri, "unix://")
	if !ok {
		return fmt.Errorf("%s: only unix:// sockets are used here", uri)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://podman/_ping", nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", uri, res.Status)
	}
	return nil
}
