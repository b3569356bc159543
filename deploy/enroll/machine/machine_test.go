package machine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/enroll/machine/machinetest"
)

// answers answers questions, and counts them.
type answers struct {
	mu    sync.Mutex
	with  func(q machine.Question, times int) (string, error)
	asked []machine.Question
}

func (a *answers) Ask(_ context.Context, q machine.Question) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, q)
	return a.with(q, len(a.asked))
}

func target(t *testing.T, s *machinetest.Server) machine.Target {
	t.Helper()
	got, err := machine.ParseTarget("ssh://pi@" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func dial(t *testing.T, o machine.Options, s *machinetest.Server, jump string) (machine.Machine, error) {
	t.Helper()
	if o.ConfigFile == "" {
		o.ConfigFile = machine.NoConfig
	}
	if o.Home == "" {
		o.Home = t.TempDir()
	}
	d, err := machine.NewDialer(o)
	if err != nil {
		return nil, err
	}
	m, err := d.Dial(t.Context(), target(t, s), jump)
	if err == nil {
		t.Cleanup(func() { m.Close() })
	}
	return m, err
}

// known gives the options by which a server is trusted, and a key that it takes.
func known(t *testing.T, s *machinetest.Server, others ...*machinetest.Server) machine.Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "id")
	s.Authorized = append(s.Authorized, machinetest.Identity(t, file, ""))
	for _, o := range others {
		o.Authorized = s.Authorized
	}
	return machine.Options{KnownHosts: machinetest.KnownHosts(t, append(others, s)...), Identities: []string{file}}
}

func TestScriptsAndFiles(t *testing.T) {
	t.Parallel()
	s := machinetest.Start(t, &machinetest.Server{})
	remote, err := dial(t, known(t, s), s, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]machine.Machine{"over SSH": remote, "on this machine": machine.Local(machine.Nobody{})} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			r, err := m.Run(ctx, machine.Command{Script: `printf '%s|%s|' "$1" "$2"; cat; echo "it's wrong" >&2; exit 7`, Args: []string{"a b", `'"$x`}, Stdin: []byte("in")})
			if err != nil || r.Code != 7 || string(r.Stdout) != `a b|'"$x|in` || string(r.Stderr) != "it's wrong\n" {
				t.Errorf("%+v %q %q, %v", r, r.Stdout, r.Stderr, err)
			}
			if err := r.Check("do it"); err == nil || err.Error() != "do it: it's wrong" {
				t.Errorf("check: %v", err)
			}
			if r, err := m.Run(ctx, machine.Command{Script: "exit 0", Stdin: make([]byte, 1<<20)}); err != nil || r.Code != 0 {
				t.Errorf("a script that reads nothing: %+v, %v", r, err)
			}
			path := filepath.Join(t.TempDir(), "file name")
			if _, err := m.ReadFile(ctx, path); !errors.Is(err, machine.ErrNoFile) {
				t.Errorf("a file that is not there: %v", err)
			}
			content := []byte("line\n\x00\xff" + strings.Repeat("x", 300<<10))
			if err := m.WriteFile(ctx, machine.File{Path: path, Mode: 0o600, Content: content}); err != nil {
				t.Fatal(err)
			}
			got, err := m.ReadFile(ctx, path)
			if err != nil || string(got) != string(content) {
				t.Errorf("it reads %d bytes, %v", len(got), err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
			if left, _ := filepath.Glob(filepath.Dir(path) + "/.*"); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// Guarantee: a file that did not arrive whole takes the place of nothing.
func TestAFileThatIsCutLeavesTheOldOne(t *testing.T) {
	t.Parallel()
	s := machinetest.Start(t, &machinetest.Server{CutAfter: 1000})
	m, err := dial(t, known(t, s), s, "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = m.WriteFile(t.Context(), machine.File{Path: path, Mode: 0o755, Content: make([]byte, 50000)})
	if !errors.Is(err, machine.ErrConnectionLost) {
		t.Errorf("error %v, want %v", err, machine.ErrConnectionLost)
	}
	s.Stop() // with its shells
	if got, err := os.ReadFile(path); err != nil || string(got) != "old" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := m.Run(t.Context(), machine.Command{Script: ":"}); !errors.Is(err, machine.ErrConnectionLost) {
		t.Errorf("a script then: %v", err)
	}
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	t.Run("an unknown host is refused with its fingerprint and what to do", func(t *testing.T) {
		t.Parallel()
		s := machinetest.Start(t, &machinetest.Server{})
		o := known(t, s)
		o.KnownHosts = filepath.Join(t.TempDir(), "none")
		_, err := dial(t, o, s, "")
		want(t, err, machine.ErrHostKey, ssh.FingerprintSHA256(s.HostKey.PublicKey()), "ssh-keyscan -p ", "--accept-new-host-keys", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
	})
	t.Run("an unknown host is remembered where that is wished, and trusted then", func(t *testing.T) {
		t.Parallel()
		s := machinetest.Start(t, &machinetest.Server{})
		o := known(t, s)
		o.KnownHosts, o.AcceptNewHostKeys = filepath.Join(t.TempDir(), "dir", "known"), true
		said := ""
		o.Say = func(text string) { said += text }
		if _, err := dial(t, o, s, ""); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said, ssh.FingerprintSHA256(s.HostKey.PublicKey())) {
			t.Errorf("it said %q", said)
		}
		o.AcceptNewHostKeys = false
		if _, err := dial(t, o, s, ""); err != nil {
			t.Error(err)
		}
	})
	t.Run("a changed key is refused with its line, also where new ones are accepted", func(t *testing.T) {
		t.Parallel()
		s := machinetest.Start(t, &machinetest.Server{})
		o := known(t, s)
		o.AcceptNewHostKeys = true
		line := "# mine\n" + knownhosts.Line([]string{s.Addr}, machinetest.NewSigner(t).PublicKey()) + "\n"
		if err := os.WriteFile(o.KnownHosts, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := dial(t, o, s, "")
		want(t, err, machine.ErrHostKey, o.KnownHosts+":2", "another key", "ssh-keygen -R")
	})
}

func want(t *testing.T, err error, is error, says ...string) {
	t.Helper()
	if err == nil || is != nil && !errors.Is(err, is) {
		t.Fatalf("error %v, want %v", err, is)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

func TestLogins(t *testing.T) {
	t.Parallel()
	for name, interactive := range map[string]bool{"a password is asked for, and again where it was wrong": false, "so it is by keyboard-interactive": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := machinetest.Start(t, &machinetest.Server{Password: "right", Interactive: interactive})
			a := &answers{with: func(_ machine.Question, times int) (string, error) {
				return map[bool]string{true: "right", false: "wrong"}[times > 1], nil
			}}
			if _, err := dial(t, machine.Options{KnownHosts: machinetest.KnownHosts(t, s), Secrets: a}, s, ""); err != nil {
				t.Fatal(err)
			}
			of := "pi@" + s.Addr
			wanted := []machine.Question{{Kind: machine.LoginPassword, Of: of}, {Kind: machine.LoginPassword, Of: of, Again: true}}
			if diff := cmp.Diff(wanted, a.asked); diff != "" {
				t.Error("(-want +got)\n" + diff)
			}
		})
	}
	t.Run("a passphrase is asked for once, for two devices", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "id")
		key := machinetest.Identity(t, file, "open")
		one, two := machinetest.Start(t, &machinetest.Server{Authorized: []ssh.PublicKey{key}}), machinetest.Start(t, &machinetest.Server{Authorized: []ssh.PublicKey{key}})
		a := &answers{with: func(machine.Question, int) (string, error) { return "open", nil }}
		d, err := machine.NewDialer(machine.Options{ConfigFile: machine.NoConfig, Home: t.TempDir(), KnownHosts: machinetest.KnownHosts(t, one, two), Identities: []string{file}, Secrets: a})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*machinetest.Server{one, two} {
			m, err := d.Dial(t.Context(), target(t, s), "")
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
		}
		if diff := cmp.Diff([]machine.Question{{Kind: machine.Passphrase, Of: file}}, a.asked); diff != "" {
			t.Error("(-want +got)\n" + diff)
		}
	})
	t.Run("a passphrase is not asked for where the server does not take the key", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "id")
		machinetest.Identity(t, file, "open")
		s := machinetest.Start(t, &machinetest.Server{})
		a := &answers{with: func(machine.Question, int) (string, error) { return "", machine.ErrNobodyToAsk }}
		_, err := dial(t, machine.Options{KnownHosts: machinetest.KnownHosts(t, s), Identities: []string{file}, Secrets: a}, s, "")
		want(t, err, nil, "none of the 1 keys", "ssh-copy-id pi@127.0.0.1")
		if len(a.asked) > 0 {
			t.Errorf("it asked %v", a.asked)
		}
	})
	t.Run("without a terminal a password cannot be asked for", func(t *testing.T) {
		t.Parallel()
		s := machinetest.Start(t, &machinetest.Server{Password: "right"})
		_, err := dial(t, machine.Options{KnownHosts: machinetest.KnownHosts(t, s)}, s, "")
		want(t, err, machine.ErrNobodyToAsk, "wants a password", "ssh-copy-id")
	})
	t.Run("a key file that is not there is named", func(t *testing.T) {
		t.Parallel()
		s := machinetest.Start(t, &machinetest.Server{})
		o := known(t, s)
		o.Identities = []string{"/nowhere/id"}
		_, err := dial(t, o, s, "")
		want(t, err, os.ErrNotExist, "/nowhere/id")
	})
	t.Run("a server that is off is named", func(t *testing.T) {
		t.Parallel()
		s := machinetest.Start(t, &machinetest.Server{})
		o := known(t, s)
		s.Stop()
		_, err := dial(t, o, s, "")
		want(t, err, nil, "connect to "+s.Addr, "refused")
	})
}

func TestTheSSHConfigurationIsHeeded(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	key := machinetest.Identity(t, filepath.Join(home, ".ssh", "fleet"), "")
	bastion := machinetest.Start(t, &machinetest.Server{Authorized: []ssh.PublicKey{key}})
	device := machinetest.Start(t, &machinetest.Server{Authorized: []ssh.PublicKey{key}})
	hosts := machinetest.KnownHosts(t, bastion, device)
	host, port, _ := strings.Cut(bastion.Addr, ":")
	_, devicePort, _ := strings.Cut(device.Addr, ":")
	text := fmt.Sprintf(`Host bastion
  HostName %s
  Port %s
Host kiosk-*
  HostName 127.0.0.1
  Port %s
  User pi
  ProxyJump admin@bastion
Host *
  IdentityFile ~/.ssh/fleet
  UserKnownHostsFile %s
`, host, port, devicePort, hosts)
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := machine.NewDialer(machine.Options{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Dial(t.Context(), machine.Target{Host: "kiosk-7"}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if r, err := m.Run(t.Context(), machine.Command{Script: "echo here"}); err != nil || string(r.Stdout) != "here\n" {
		t.Errorf("%q, %v", r.Stdout, err)
	}
	if got := m.String(); got != "pi@"+device.Addr {
		t.Errorf("the machine is %q", got)
	}
	if len(bastion.Lines()) > 0 || len(device.Lines()) == 0 {
		t.Errorf("the bastion ran %q, the device %q", bastion.Lines(), device.Lines())
	}
	m2, err := dial(t, machine.Options{Home: home, KnownHosts: hosts, Identities: []string{filepath.Join(home, ".ssh", "fleet")}}, device, "pi@"+bastion.Addr)
	if err != nil {
		t.Fatalf("with a jump host by hand: %v", err)
	}
	m2.Close()
}

func TestAJumpHostThatLeadsBackToItselfIsTold(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\nHost c\n  ProxyCommand nc %h %p\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := machine.NewDialer(machine.Options{ConfigFile: file, Home: t.TempDir(), User: "pi"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Dial(t.Context(), machine.Target{Host: "a"}, "")
	want(t, err, nil, "ProxyJump", "back to itself")
	_, err = d.Dial(t.Context(), machine.Target{Host: "c"}, "")
	want(t, err, nil, "ProxyCommand", "--jump")
}

func TestAServerThatDoesNotAnswerAnyMoreIsGivenUp(t *testing.T) {
	t.Parallel()
	s := machinetest.Start(t, &machinetest.Server{Deaf: true})
	o := known(t, s)
	o.KeepAlive = 20 * time.Millisecond
	m, err := dial(t, o, s, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(t.Context(), machine.Command{Script: "sleep 600"}); !errors.Is(err, machine.ErrConnectionLost) {
		t.Errorf("error %v, want %v", err, machine.ErrConnectionLost)
	}
}

func TestWhatIsNotThereIsToldSoonAndWithWhatToDo(t *testing.T) {
	t.Parallel()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // it takes connections, and nobody answers
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err = errors.Join(err, closed.Close()); err != nil {
		t.Fatal(err)
	}
	for address, says := range map[string]string{
		silent.Addr().String(): "no answer within 5s: is that an SSH server?",
		closed.Addr().String(): "does sshd run there, and on this port?",
	} {
		d, err := machine.NewDialer(machine.Options{ConfigFile: machine.NoConfig, Home: t.TempDir(), Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		to, err := machine.ParseTarget("pi@" + address)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = d.Dial(t.Context(), to, "")
		if err == nil || !strings.Contains(err.Error(), says) || time.Since(began) > time.Minute {
			t.Errorf("%s: got %v after %v, want %q", address, err, time.Since(began), says)
		}
	}
}

func TestAPersonEndsAScript(t *testing.T) {
	t.Parallel()
	s := machinetest.Start(t, &machinetest.Server{})
	m, err := dial(t, known(t, s), s, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Run(ctx, machine.Command{Script: "sleep 5"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for text, wanted := range map[string]machine.Target{
		"ssh://pi@host:2222": {User: "pi", Host: "host", Port: 2222},
		"ssh://host":         {Host: "host"},
		"pi@10.0.0.5":        {User: "pi", Host: "10.0.0.5"},
		"ssh://[fd00::5]:22": {Host: "fd00::5", Port: 22},
	} {
		if got, err := machine.ParseTarget(text); err != nil || got != wanted {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, says := range map[string]string{
		"": "form", "http://x": "form", "ssh://pi:hunter2@x": "password", "ssh://x:99999": "65535", "ssh://x/y": "more than", "ssh://-oProxyCommand=x": "dash",
	} {
		_, err := machine.ParseTarget(text)
		want(t, err, nil, says)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in %q", err)
		}
	}
}

func TestALoginThatHangsIsGivenUpOverAJumpHostToo(t *testing.T) {
	t.Parallel()
	bastion := machinetest.Start(t, &machinetest.Server{})
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	o := known(t, bastion)
	o.Handshake, o.ConfigFile, o.Home = 10*time.Second, machine.NoConfig, t.TempDir()
	d, err := machine.NewDialer(o)
	if err != nil {
		t.Fatal(err)
	}
	at, err := machine.ParseTarget("pi@" + silent.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, jump := range []string{"", "pi@" + bastion.Addr} {
		_, err = d.Dial(t.Context(), at, jump)
		want(t, err, nil, "log in at pi@"+silent.Addr().String(), "no answer within")
	}
}

func TestAnEmptyListOfKnownHostsIsNoPanic(t *testing.T) {
	t.Parallel()
	s := machinetest.Start(t, &machinetest.Server{})
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("Host *\n  UserKnownHostsFile none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := dial(t, machine.Options{ConfigFile: file}, s, "")
	want(t, err, machine.ErrHostKey, "known_hosts")
}
