package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// playVariable tells a copy of the test binary what to be, so that the tests run
// the real process without linking it a second time.
const (
	playVariable = "KUBEAPI_TEST_PLAYS"
	playKubeapi  = "kubeapi"
	playParent   = "parent"
)

func TestMain(m *testing.M) {
	switch os.Getenv(playVariable) {
	case playKubeapi:
		os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case playParent:
		os.Exit(parent(os.Args[1:]))
	default:
		os.Exit(m.Run())
	}
}

// parent starts kubeapi as fleet-dev does, holding its stdin, and waits for it.
func parent(args []string) int {
	command := exec.Command(os.Args[0], args...)
	command.Env = append(os.Environ(), playVariable+"="+playKubeapi)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if _, err := command.StdinPipe(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// process is a running copy of the test binary.
type process struct {
	*exec.Cmd
	stdin  io.Closer
	stderr *lockedBuffer
	// url is what it said to be ready at.
	url string
	// exited is closed when it has ended.
	exited chan struct{}
	err    error
}

// launch starts the test binary as play and does not wait for anything.
func launch(t *testing.T, play string, args ...string) (*process, io.Reader) {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...), stderr: &lockedBuffer{}, exited: make(chan struct{})}
	p.Env = append(os.Environ(), playVariable+"="+play)
	p.Cmd.Stderr = p.stderr
	p.WaitDelay = 5 * time.Second
	var err error
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, input := io.Pipe()
	p.Stdout = input
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.Wait()
		input.CloseWithError(io.EOF)
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			t.Logf("stderr of %s %q:\n%s", play, args, p.stderr.String())
		}
	})
	return p, output
}

// start launches it and waits until it says that it is ready.
func start(t *testing.T, play string, args ...string) *process {
	t.Helper()
	p, output := launch(t, play, args...)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			p.url = url
			go io.Copy(io.Discard, output) //nolint:errcheck // It only keeps the pipe from filling.
			return p
		}
	}
	<-p.exited
	t.Fatalf("ended before it was ready: %v\n%s", p.err, p.stderr.String())
	return nil
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill: %v", err)
	}
	<-p.exited
}

// wait returns the exit code, or fails when limit has passed.
func (p *process) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("still running after %s", limit)
		return 0
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// clientConfig reads the kubeconfig of a data directory.
func clientConfig(t *testing.T, dir string) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

// eventually polls until done or until limit has passed.
func eventually(t *testing.T, limit time.Duration, what string, done func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", limit, what)
		case <-tick.C:
		}
	}
}

// lockedBuffer is written by a process's copier and read by the test.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// noise is each line of p's stderr but those by which etcd complains of a slow
// machine.
func noise(p *process) []string {
	return slices.DeleteFunc(strings.Split(strings.TrimSuffix(p.stderr.String(), "\n"), "\n"), func(line string) bool {
		return line == "" || strings.Contains(line, "took too long") || strings.Contains(line, "slow fdatasync") ||
			strings.Contains(line, "server is likely overloaded")
	})
}
