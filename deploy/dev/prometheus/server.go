package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// ErrPortTaken says that somebody else has the server's port.
var ErrPortTaken = errors.New("the port is taken")

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
	url  string
	data string // its directory of data
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
	s := &Server{url: "http://" + o.Address, data: filepath.Join(o.Dir, "data"), log: filepath.Join(o.Dir, "prometheus.log"), done: make(chan struct{})}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	s.cmd = exec.Command(program, //nolint:noctx // Stop ends it, in its own time
		"--config.file="+filepath.Join(o.Dir, "prometheus.yaml"), "--storage.tsdb.path="+s.data,
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

// Await waits until the server is ready. It gives ErrPortTaken where the server ended for
// that, and ends a server that is not ready in time.
func (s *Server) Await(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !s.ready(ctx) {
		select {
		case <-tick.C:
		case <-s.done:
			said, err := os.ReadFile(s.log)
			if err == nil && bytes.Contains(said, []byte("address already in use")) {
				return ErrPortTaken
			}
			return fmt.Errorf("it ended: %w; see %s", s.err, s.log)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("it is not ready after %s; see %s", most, s.log), s.Run(ctx))
		}
	}
	return nil
}

// ready asks whoever answers at the address whether it is ready, and whether it is this
// server: another Prometheus may have the port.
func (s *Server) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var flags struct {
		Data map[string]string `json:"data"`
	}
	return s.get(ctx, "/-/ready", nil) == nil && s.get(ctx, "/api/v1/status/flags", &flags) == nil &&
		flags.Data["storage.tsdb.path"] == s.data
}

func (s *Server) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
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
