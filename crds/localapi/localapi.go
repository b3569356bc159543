// Package localapi runs a real Kubernetes API on this machine: the program
// kubeapi (deploy/kubeapi), as a child that dies with its parent.
//
// Guarantee: the child ends when its parent does, also by kill -9. It holds
// the reading end of a pipe whose only writing end is in the parent, and stops
// at its end of file.
package localapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// stopTimeout is how long Stop waits for an orderly end, which writes etcd's
// last pages, before it kills.
const stopTimeout = 45 * time.Second

// Options says how to run a Kubernetes API.
type Options struct {
	// Binary is the path of kubeapi; FindBinary's answer when empty.
	Binary string
	// DataDir keeps all of its data: a later start on the same folder is the same
	// cluster. Required.
	DataDir string
	// Kubeconfig is where the kubeconfig is written; "kubeconfig" in DataDir when
	// empty.
	Kubeconfig string
	// Stderr receives what the child logs; nobody when nil. What it said last is
	// in Start's error either way.
	Stderr io.Writer
	// NoFsync makes it quick, and its data lost if the machine loses power. For
	// tests.
	NoFsync bool
}

// API is a running Kubernetes API.
type API struct {
	// Config is for clients: a person who may do everything. Copy it before
	// changing it.
	Config *rest.Config
	// Kubeconfig is the path of a kubeconfig of the same person.
	Kubeconfig string
	// URL is where it listens.
	URL string

	stdin io.Closer
	child *exec.Cmd
	done  chan struct{}
	err   error // how the child ended; set before done closes
	last  *tail
	once  sync.Once
}

// Start runs a Kubernetes API and returns once it serves. The context bounds
// the start alone; Stop ends what was started.
//
// Errors: ErrNoBinary; an end before it was ready, with what it said last; the
// context's end.
func Start(ctx context.Context, options Options) (*API, error) {
	if options.DataDir == "" {
		return nil, errors.New("start the Kubernetes API: no data directory given")
	}
	if options.Binary == "" {
		binary, err := FindBinary()
		if err != nil {
			return nil, err
		}
		options.Binary = binary
	}
	if options.Kubeconfig == "" {
		options.Kubeconfig = filepath.Join(options.DataDir, "kubeconfig")
	}
	if err := os.MkdirAll(options.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("start the Kubernetes API: %w", err)
	}
	api := &API{Kubeconfig: options.Kubeconfig, done: make(chan struct{}), last: &tail{limit: 4 << 10}}
	ready, err := api.launch(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("start the Kubernetes API: %w", err)
	}
	if err := api.await(ctx, ready); err != nil {
		return nil, fmt.Errorf("start the Kubernetes API: %w", errors.Join(err, api.Stop()))
	}
	api.Config, err = clientcmd.BuildConfigFromFlags("", api.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("start the Kubernetes API: read its kubeconfig: %w", errors.Join(err, api.Stop()))
	}
	return api, nil
}

// launch starts the child. The channel gives its address once it is ready.
func (a *API) launch(ctx context.Context, options Options) (<-chan string, error) {
	args := []string{"--data-dir", options.DataDir, "--kubeconfig", options.Kubeconfig, "--exit-with-stdin"}
	if options.NoFsync {
		args = append(args, "--no-fsync")
	}
	// The context bounds the start; the child outlives it until Stop.
	a.child = exec.CommandContext(context.WithoutCancel(ctx), options.Binary, args...)
	a.child.SysProcAttr = ownGroup()
	a.child.WaitDelay = 5 * time.Second // where it left a process that holds its output
	a.child.Stderr = a.last
	if options.Stderr != nil {
		a.child.Stderr = io.MultiWriter(a.last, options.Stderr)
	}
	stdin, err := a.child.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own, because Wait would close StdoutPipe's under the reader.
	stdout, childStdout := io.Pipe()
	a.child.Stdout = childStdout
	a.stdin = stdin
	if err := a.child.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go watchStdout(stdout, ready)
	go func() {
		a.err = a.child.Wait()
		_ = childStdout.Close() // an io.Pipe's Close never fails
		close(a.done)
	}()
	return ready, nil
}

// watchStdout sends the address of the line "ready https://…" and goes on
// reading, so that the child never blocks on what it prints.
func watchStdout(stdout io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, found := strings.CutPrefix(lines.Text(), "ready "); found {
			select {
			case ready <- strings.TrimSpace(url):
			default:
			}
		}
	}
	// A line too long for the scanner ends it; the rest is nobody's.
	_, _ = io.Copy(io.Discard, stdout)
}

func (a *API) await(ctx context.Context, ready <-chan string) error {
	select {
	case a.URL = <-ready:
		return nil
	case <-a.done:
		how := a.err
		if how == nil {
			how = errors.New("exit status 0")
		}
		return fmt.Errorf("it ended before it was ready: %w; it said last:\n%s", how, a.last)
	case <-ctx.Done():
		return fmt.Errorf("it is not ready yet: %w; it said last:\n%s", context.Cause(ctx), a.last)
	}
}

// Done closes when the child has ended, asked to or not.
func (a *API) Done() <-chan struct{} { return a.done }

// Err says how the child ended; nil before Done closes, or if it ended well.
func (a *API) Err() error {
	select {
	case <-a.done:
		if a.err == nil {
			return nil
		}
		return fmt.Errorf("the Kubernetes API ended: %w; it said last:\n%s", a.err, a.last)
	default:
		return nil
	}
}

// Stop ends the child in order and returns once it is gone. Doing it again is
// fine.
//
// Errors: an end that had to be forced, or that wasn't clean.
func (a *API) Stop() error {
	var err error
	a.once.Do(func() {
		select {
		case <-a.done: // it ended by itself, which is told by Err
			return
		default:
		}
		// Its stdin stays open meanwhile: to the child its end means that nobody waits.
		if err = a.child.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
		select {
		case <-a.done:
			err = errors.Join(err, a.Err())
		case <-time.After(stopTimeout):
			err = errors.Join(err, a.child.Process.Kill(), fmt.Errorf("the Kubernetes API did not stop within %s and was killed", stopTimeout))
			<-a.done
		}
		_ = a.stdin.Close() // nobody reads it any more
	})
	return err
}
