package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// remote is a device over SSH.
type remote struct {
	root    root
	name    string
	clients []*ssh.Client // of the jump hosts, and of the device
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// ErrConnectionLost says that the connection ended in the middle of a script.
var ErrConnectionLost = errors.New("the connection broke")

// keepAlive ends a connection whose server does not answer any more.
func keepAlive(ctx context.Context, c *ssh.Client, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	answered := make(chan error, 1)
	asking, misses := false, 0
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-answered:
			if err != nil {
				return // it is over already
			}
			asking, misses = false, 0
		case <-tick.C:
			if asking {
				if misses++; misses >= keepAliveMisses {
					_ = c.Close()
					return
				}
				continue
			}
			asking = true
			go func() {
				_, _, err := c.SendRequest("keepalive@openssh.com", true, nil)
				answered <- err
			}()
		}
	}
}

func (m *remote) device() *ssh.Client { return m.clients[len(m.clients)-1] }

// exec runs a command line in the shell of the user who is logged in.
func (m *remote) exec(ctx context.Context, line string, stdin []byte) (Result, error) {
	session, err := m.device().NewSession()
	if err != nil {
		return Result{}, m.lost(err)
	}
	defer session.Close()
	var out, errs bounded
	session.Stdin, session.Stdout, session.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := session.Start(line); err != nil {
		return Result{}, m.lost(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	select {
	case <-ctx.Done():
		_ = session.Signal(ssh.SIGTERM)
		return Result{}, context.Cause(ctx)
	case err = <-ended:
	}
	r := Result{Stdout: out.kept, Stderr: errs.kept}
	var status *ssh.ExitError
	switch {
	case err == nil, errors.Is(err, io.EOF): // the script did not read its whole input
		return r, nil
	case errors.As(err, &status) && status.Signal() == "":
		r.Code = status.ExitStatus()
		return r, nil
	case errors.As(err, &status):
		return r, fmt.Errorf("a script on %s was ended by signal %s", m.name, status.Signal())
	}
	return r, m.lost(err)
}

func (m *remote) lost(err error) error {
	return fmt.Errorf("%w: %s: %w", ErrConnectionLost, m.name, err)
}

func (m *remote) Run(ctx context.Context, c Command) (Result, error) { return m.root.run(ctx, c) }

func (m *remote) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return readFile(ctx, m, path)
}

func (m *remote) WriteFile(ctx context.Context, f File) error { return writeFile(ctx, m, f) }

func (m *remote) String() string { return m.name }

// Close ends the connections, that to the device first.
func (m *remote) Close() error {
	if m.stop != nil {
		m.stop()
	}
	var errs []error
	for _, c := range slices.Backward(m.clients) {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
			errs = append(errs, err)
		}
	}
	m.done.Wait()
	return errors.Join(errs...)
}
