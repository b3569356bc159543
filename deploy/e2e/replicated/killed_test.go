//go:build e2e

package replicated_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

// serverProcess is a nats-server of a cluster, as a process that can be killed.
type serverProcess struct {
	t            *testing.T
	config, said string // files: its configuration, and what it logs
	monitor      string // where it tells whether it is healthy
	command      *exec.Cmd
}

func (s *serverProcess) start() {
	s.t.Helper()
	s.command = exec.Command(built.Program(s.t, "nats-server"), "-c", s.config)
	s.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *serverProcess) kill() {
	_ = s.command.Process.Kill() // fails only where it has ended
	_ = s.command.Wait()         // says that it was killed
}

// startProcesses starts three servers that sync each write, as the chart's do, and gives
// them with their addresses.
func startProcesses(t *testing.T) (servers []*serverProcess, url string) {
	t.Helper()
	var clients, routes []string
	for range 3 {
		clients = append(clients, fmt.Sprintf("127.0.0.1:%d", natstest.FreePort(t)))
		routes = append(routes, fmt.Sprintf("127.0.0.1:%d", natstest.FreePort(t)))
	}
	for i := range 3 {
		dir := t.TempDir()
		s := &serverProcess{
			t: t, config: filepath.Join(dir, "nats.conf"), said: filepath.Join(dir, "nats.log"),
			monitor: fmt.Sprintf("127.0.0.1:%d", natstest.FreePort(t)),
		}
		text := fmt.Sprintf(`server_name: n%d
listen: %q
http: %q
logfile: %q
jetstream { store_dir: %q, sync_interval: always }
cluster { name: killed, listen: %q, routes: ["nats://%s"] }
`, i, clients[i], s.monitor, s.said, dir, routes[i], strings.Join(routes, `", "nats://`))
		if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.start()
		t.Cleanup(s.kill)
		servers = append(servers, s)
	}
	return servers, strings.Join(clients, ",")
}

// Three servers that sync each write are killed one after the other, each once the one
// before has all again. Whoever follows the log gets each event once, and no copy is lost.
func TestServersThatAreKilledInTurnLoseNothing(t *testing.T) {
	const rounds, each = 3, 4 // events beside each kill
	servers, url := startProcesses(t)
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			for _, s := range servers {
				s.tell()
			}
		}
	}()
	for _, s := range servers {
		s.awaitHealthy()
	}
	natstest.EnsureLog(t, js, 3)

	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	appendOnce(ctx, t, js, 1)
	appended, total := 1, 1+rounds*len(servers)*each
	begun, followed := make(chan struct{}), make(chan error, 1)
	go func() { followed <- follow(ctx, js, total, sync.OnceFunc(func() { close(begun) })) }()
	select { // it knows the log before the first server is killed
	case <-begun:
	case err := <-followed:
		t.Fatal(err)
	}
	for range rounds {
		for _, s := range servers {
			s.kill()
			for range each / 2 { // while it is away
				appended++
				appendOnce(ctx, t, js, appended)
			}
			s.start()
			s.awaitHealthy()
			s.awaitEvents(uint64(appended))
			for range each - each/2 {
				appended++
				appendOnce(ctx, t, js, appended)
			}
		}
	}
	if err := <-followed; err != nil {
		t.Errorf("who followed the log all the time: %v", err)
	}
	if err := follow(ctx, js, total, func() {}); err != nil {
		t.Errorf("who follows the log from its beginning afterwards: %v", err)
	}
	for _, s := range servers {
		b, err := os.ReadFile(s.said)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, "Error recreating stream") {
				t.Errorf("a server lost its copy: %s", line)
			}
		}
	}
}

// follow reads the log until it has had as many events, each at its place, and tells of
// each.
func follow(ctx context.Context, js jetstream.JetStream, events int, had func()) error {
	next := uint64(1)
	for e, err := range reader.Follow(ctx, js, reader.Options{}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return fmt.Errorf("after %d of %d events: %w", next-1, events, err)
		}
		if e.Sequence != next {
			return fmt.Errorf("sequence %d came, want %d", e.Sequence, next)
		}
		had()
		if next == uint64(events) {
			return nil
		}
		next++
	}
	return errors.New("the reader ended")
}

// appendOnce appends a report, and tries until a server has it.
func appendOnce(ctx context.Context, t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	id := jetstream.WithMsgID(strconv.Itoa(n))
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := js.Publish(try, eventlog.StateSubject("d"+strconv.Itoa(n%7), "web"), []byte(`{}`), id)
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// awaitEvents waits until the server's own copy of the log has so many events. A server that was killed
// is healthy for a moment before it begins to fetch what it lacks: were the others killed then, none
// that is left would have all, and nothing could be appended until they are back.
func (s *serverProcess) awaitEvents(n uint64) {
	s.t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	var why string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // poll: as above
		last, err := s.last(&client)
		if err == nil && last >= n {
			return
		}
		why = fmt.Sprintf("it has %d (%v)", last, err)
	}
	s.t.Fatalf("a NATS server has not %d events after 2 minutes: %s", n, why)
}

// last is the sequence of the last event in the server's own copy of the log.
func (s *serverProcess) last(client *http.Client) (uint64, error) {
	answer, err := client.Get("http://" + s.monitor + "/jsz?accounts=true&streams=true")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var said struct {
		Accounts []struct {
			Streams []struct {
				Name  string `json:"name"`
				State struct {
					Last uint64 `json:"last_seq"`
				} `json:"state"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return 0, err
	}
	for _, a := range said.Accounts {
		for _, one := range a.Streams {
			if one.Name == eventlog.LogStream {
				return one.State.Last, nil
			}
		}
	}
	return 0, errors.New("it has no log")
}

// tell logs the end of what the server wrote to its log.
func (s *serverProcess) tell() {
	const most = 8 << 10
	b, err := os.ReadFile(s.said)
	s.t.Logf("%s (%v):\n%s", s.monitor, err, b[max(0, len(b)-most):])
}

// awaitHealthy waits until the server says that it has all that the others have.
func (s *serverProcess) awaitHealthy() {
	s.t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) { // poll: a server tells by itself of no change
		why := ""
		answer, err := client.Get("http://" + s.monitor + "/healthz")
		if err == nil {
			b, _ := io.ReadAll(answer.Body) // what cannot be read is no reason
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
			why = string(b)
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("a NATS server is not healthy after 2 minutes: %v %s", err, why)
		}
	}
}
