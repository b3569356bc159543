//go:build unix

package fleetctl_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// terminal is a person's terminal: a command runs in it, and what it draws can be
// looked at as the person sees it.
type terminal struct {
	t    *testing.T
	tty  *os.File
	cmd  *exec.Cmd
	done chan struct{} // the command ended
	err  error         // how

	mu  sync.Mutex
	vt  *vt.Emulator
	raw strings.Builder
}

// openTerminal runs a command of this package's scripts in a terminal of a size.
func openTerminal(t *testing.T, columns, rows int, env []string, name string, args ...string) *terminal {
	t.Helper()
	s := &terminal{t: t, vt: vt.NewEmulator(columns, rows), done: make(chan struct{}), cmd: exec.Command(name, args...)}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "NO_COLOR=") { // that of this test's own surroundings
			s.cmd.Env = append(s.cmd.Env, kv)
		}
	}
	s.cmd.Env = append(append(s.cmd.Env, "TERM=xterm-256color", "TZ=UTC"), env...)
	var err error
	if s.tty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: uint16(rows), Cols: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
	var copies sync.WaitGroup
	copies.Go(func() {
		b := make([]byte, 1<<15)
		for {
			n, err := s.tty.Read(b)
			s.mu.Lock()
			s.raw.Write(b[:n])
			_, _ = s.vt.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				return // the command's end of the terminal is closed
			}
		}
	})
	copies.Go(func() { _, _ = io.Copy(s.tty, s.vt) }) // a terminal answers what it is asked
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.done
		_ = s.tty.Close()
		if in, ok := s.vt.InputPipe().(io.Closer); ok { // the emulator's own Close is not for use beside its Read
			_ = in.Close()
		}
		copies.Wait()
	})
	return s
}

// screen is what the person sees.
func (s *terminal) screen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vt.String()
}

func (s *terminal) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

func (s *terminal) press(keys string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *terminal) resize(columns, rows int) {
	s.t.Helper()
	s.mu.Lock()
	s.vt.Resize(columns, rows)
	s.mu.Unlock()
	if err := pty.Setsize(s.tty, &pty.Winsize{Rows: uint16(rows), Cols: uint16(columns)}); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for the screen to show all of the texts.
func (s *terminal) until(texts ...string) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		shown := s.screen()
		missing := ""
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the screen does not show %q:\n%s", missing, shown)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ended waits for the command to end, and gives how.
func (s *terminal) ended() error {
	s.t.Helper()
	select {
	case <-s.done:
		return s.err
	case <-time.After(time.Minute):
		s.t.Fatalf("the command goes on:\n%s", s.screen())
		return nil
	}
}

const (
	keyLeft, keyRight           = "\x1b[D", "\x1b[C"
	keyShiftLeft, keyShiftRight = "\x1b[1;2D", "\x1b[1;2C"
	keyHome, keyEnd             = "\x1b[H", "\x1b[F"
	keyCtrlC                    = "\x03"
)

func fleetEnv(w *world) []string {
	return []string{"FLEET_NATS_URL=" + w.server.URL(), "FLEET_NATS_USER=alice", "FLEET_NATS_PASSWORD=p"}
}

func openFleet(t *testing.T) *world {
	t.Helper()
	w, err := smallFleet(t)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAReplayIsSteeredByKeys(t *testing.T) {
	t.Parallel()
	s := openTerminal(t, 100, 24, fleetEnv(openFleet(t)), "fleetctl", "replay", "--step")
	s.until("paused 60x", "event 0 of 10", "no device yet", "q quit")
	s.press(" ")
	s.until("event 1 of 10", "leader.elected")
	s.press(keyRight + keyRight)
	s.until("event 3 of 10", "P edge-01", "default/hello")
	s.press(keyLeft)
	s.until("event 2 of 10", "no device yet")
	s.press(keyEnd)
	s.until("the end", "event 10 of 10", "R edge-01", "foreign", "100%")
	s.press(keyLeft)
	s.until("event 9 of 10")
	s.press(keyShiftRight)
	s.until("no later rollout")
	s.press(keyShiftLeft)
	s.until("no earlier rollout")
	s.press("?")
	s.until("to where the next rollout begins", "revoked: it may not connect")
	s.press("?" + keyHome)
	s.until("event 0 of 10")
	s.press("++")
	s.until("paused 300x")
	s.press("-")
	s.until("paused 120x")
	s.press("q")
	if err := s.ended(); err != nil {
		t.Errorf("q ended it with %v", err)
	}
}

func TestAReplayPlaysByItself(t *testing.T) {
	t.Parallel()
	s := openTerminal(t, 100, 24, fleetEnv(openFleet(t)), "fleetctl", "replay", "--speed", "max")
	s.until("the end", "event 10 of 10")
	s.press(" ") // from the beginning again
	s.until("the end", "event 10 of 10")
	s.press(keyCtrlC)
	if err := s.ended(); err != nil {
		t.Errorf("Ctrl-C ended it with %v", err)
	}
}

func TestAReplayFollowsTheTerminalsSize(t *testing.T) {
	t.Parallel()
	s := openTerminal(t, 100, 24, fleetEnv(openFleet(t)), "fleetctl", "replay", "--speed", "max")
	s.until("the end", "q quit")
	s.resize(20, 5)
	s.until("the end", "10/", "R edge-01")
	s.resize(1, 1)
	s.until("t")
	s.resize(120, 40)
	s.until("the end", "q quit", "leader.elected")
	s.press("q")
	if err := s.ended(); err != nil {
		t.Errorf("q ended it with %v", err)
	}
}

func TestAReplayWithoutColours(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env     []string
		colours bool
	}{"with colours": {nil, true}, "NO_COLOR": {[]string{"NO_COLOR=1"}, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openTerminal(t, 100, 24, append(fleetEnv(openFleet(t)), c.env...), "fleetctl", "replay", "--speed", "max")
			s.until("the end", "R edge-01")
			if got := strings.Contains(s.written(), "\x1b[32m"); got != c.colours {
				t.Errorf("colours: %v, want %v", got, c.colours)
			}
			s.press("q")
			if err := s.ended(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The window was closed: the kernel hangs up, and the replay goes with it.
func TestAReplayEndsWithItsTerminal(t *testing.T) {
	t.Parallel()
	s := openTerminal(t, 100, 24, fleetEnv(openFleet(t)), "fleetctl", "replay", "--speed", "max")
	s.until("the end")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := s.ended(); err != nil {
		t.Errorf("a hang-up ended it with %v", err)
	}
	s = openTerminal(t, 100, 24, fleetEnv(openFleet(t)), "fleetctl", "replay", "--speed", "0.001x")
	s.until("playing")
	if err := s.tty.Close(); err != nil {
		t.Fatal(err)
	}
	_ = s.ended() // the hang-up may come before or after the first write that fails
}

// A server that goes away is waited for: what was read is there meanwhile.
func TestAReplayOutlivesItsServersRestart(t *testing.T) {
	t.Parallel()
	w := openFleet(t)
	s := openTerminal(t, 100, 24, fleetEnv(w), "fleetctl", "replay", "--speed", "max")
	s.until("the end")
	w.server.Stop()
	s.press(keyHome)
	s.until("event 10 of 10", "the end")
	w.server.Start()
	s.press("q")
	if err := s.ended(); err != nil {
		t.Error(err)
	}
}
