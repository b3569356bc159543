package prometheus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// ErrNotInstalled says that this machine has no Prometheus.
var ErrNotInstalled = errors.New("no program prometheus is installed (on Debian: apt-get install prometheus)")

// Options of a server.
type Options struct {
	Dir      string // keeps its configuration and its data
	Address  string // host and port that it listens at
	Interval string // between two scrapes, such as 5s
	Targets  []Target
	Rules    []byte // a rule file
}

// stopTimeout bounds how long a server may take to end before it is killed.
const stopTimeout = 10 * time.Second

// Server is a running one.
type Server struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // how it ended, once done is closed
}

// Start writes the configuration and starts the server. It gives ErrNotInstalled where
// there is none.
func Start(o Options) (*Server, error) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return nil, ErrNotInstalled
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	conf, err := render(o.Targets, o.Interval)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"prometheus.yaml": conf, rulesFile: o.Rules} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), content, 0o600); err != nil {
			return nil, fmt.Errorf("start Prometheus: %w", err)
		}
	}
	s := &Server{log: filepath.Join(o.Dir, "prometheus.log"), done: make(chan struct{})}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	s.cmd = exec.Command(program, //nolint:noctx // Stop ends it, in its own time
		"--config.file="+filepath.Join(o.Dir, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(o.Dir, "data"),
		"--web.listen-address="+o.Address)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	// A group of its own: a person's Ctrl-C is for fleet-dev, which ends its parts in order.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the child ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
			close(s.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	return s, nil
}

// Run waits until the context ends, and then ends the server. It fails where the
// server ends by itself.
func (s *Server) Run(ctx context.Context) error {
	select {
	case <-s.done:
		return fmt.Errorf("it ended: %w; see %s", s.err, s.log)
	case <-ctx.Done():
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop Prometheus: %w", err)
	}
	t := time.NewTimer(stopTimeout)
	defer t.Stop()
	select {
	case <-s.done:
		return nil
	case <-t.C:
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill Prometheus: %w", err)
	}
	<-s.done
	return nil
}
