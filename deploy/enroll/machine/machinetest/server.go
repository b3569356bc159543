// Package machinetest runs SSH servers in a test, whose device is a shell of this
// machine.
package machinetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Server is an SSH server. Its fields are set before Start.
type Server struct {
	Authorized  []ssh.PublicKey // who gets in by a key
	Password    string          // who gets in by a password; empty: nobody
	Interactive bool            // the password is asked for by keyboard-interactive
	Env         []string        // of the shells, beside the process's own
	// CutAfter ends each connection after that many bytes of a script's input; 0: never.
	CutAfter int
	// Deaf leaves requests such as keep-alives unanswered.
	Deaf bool

	Addr    string // HOST:PORT, once it is started
	HostKey ssh.Signer

	t        testing.TB
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	lines  []string
	groups []int // process groups of the shells
}

// Start starts a server on a free port, which ends with the test.
func Start(t testing.TB, s *Server) *Server {
	t.Helper()
	s.t = t
	if s.HostKey == nil {
		s.HostKey = NewSigner(t)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listener, s.Addr = l, l.Addr().String()
	s.work.Go(s.accept)
	t.Cleanup(s.Stop)
	return s
}

// Stop ends the server and its connections.
func (s *Server) Stop() {
	_ = s.listener.Close()
	s.Cut()
	s.mu.Lock()
	for _, g := range s.groups {
		_ = syscall.Kill(-g, syscall.SIGKILL)
	}
	s.mu.Unlock()
	s.work.Wait()
}

// Cut ends the connections there are.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// Lines are the command lines that were run.
func (s *Server) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...)
}

// KnownHosts writes a file that knows the servers.
func KnownHosts(t testing.TB, servers ...*Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	var text string
	for _, s := range servers {
		text += knownhosts.Line([]string{s.Addr}, s.HostKey.PublicKey()) + "\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// NewSigner makes a key.
func NewSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Identity writes a new private key into a file, with a passphrase where that is not
// empty, and its public half beside it.
func Identity(t testing.TB, file, passphrase string) ssh.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{file: pem.EncodeToMemory(block), file + ".pub": ssh.MarshalAuthorizedKey(key)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

func (s *Server) config() *ssh.ServerConfig {
	c := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			for _, a := range s.Authorized {
				if string(a.Marshal()) == string(key.Marshal()) {
					return nil, nil
				}
			}
			return nil, errors.New("unknown key")
		},
	}
	check := func(password string) (*ssh.Permissions, error) {
		if password != s.Password {
			return nil, errors.New("wrong password")
		}
		return nil, nil
	}
	if s.Password != "" && s.Interactive {
		c.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil || len(answers) != 1 {
				return nil, fmt.Errorf("no answer: %w", err)
			}
			return check(answers[0])
		}
	} else if s.Password != "" {
		c.PasswordCallback = func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) { return check(string(password)) }
	}
	c.AddHostKey(s.HostKey)
	return c
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		s.work.Go(func() { s.serve(conn) })
	}
}

func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config())
	if err != nil {
		return
	}
	s.work.Go(func() {
		for r := range requests {
			if r.WantReply && !s.Deaf {
				_ = r.Reply(false, nil)
			}
		}
	})
	for c := range channels {
		switch c.ChannelType() {
		case "session":
			s.work.Go(func() { s.session(c, conn) })
		case "direct-tcpip":
			s.work.Go(func() { s.forward(c) })
		default:
			_ = c.Reject(ssh.UnknownChannelType, "")
		}
	}
}

func (s *Server) session(c ssh.NewChannel, conn net.Conn) {
	channel, requests, err := c.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	for r := range requests {
		var command struct{ Line string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		s.mu.Lock()
		s.lines = append(s.lines, command.Line)
		s.mu.Unlock()
		go ssh.DiscardRequests(requests)
		code := s.run(channel, command.Line, conn)
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
		return
	}
}

func (s *Server) run(channel ssh.Channel, line string, conn net.Conn) int {
	cmd := exec.Command("sh", "-c", line) //nolint:noctx // the connection's end ends its input
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children end with it
	input, err := cmd.StdinPipe()
	if err != nil {
		return 127
	}
	if err := cmd.Start(); err != nil {
		return 127
	}
	s.mu.Lock()
	s.groups = append(s.groups, cmd.Process.Pid)
	s.mu.Unlock()
	go func() {
		defer input.Close()
		if s.CutAfter == 0 {
			_, _ = io.Copy(input, channel)
			return
		}
		if n, _ := io.CopyN(input, channel, int64(s.CutAfter)); n == int64(s.CutAfter) {
			_ = conn.Close()
		}
	}()
	_ = cmd.Wait()
	s.mu.Lock()
	s.groups = slices.DeleteFunc(s.groups, func(g int) bool { return g == cmd.Process.Pid })
	s.mu.Unlock()
	return cmd.ProcessState.ExitCode()
}

func (s *Server) forward(c ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if ssh.Unmarshal(c.ExtraData(), &to) != nil {
		_ = c.Reject(ssh.ConnectionFailed, "")
		return
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(to.Host, fmt.Sprint(to.Port))) //nolint:noctx // on the loopback
	if err != nil {
		_ = c.Reject(ssh.ConnectionFailed, strings.TrimSpace(err.Error()))
		return
	}
	channel, requests, err := c.Accept()
	if err != nil {
		_ = conn.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	s.work.Go(func() { _, _ = io.Copy(conn, channel); _ = conn.Close() })
	_, _ = io.Copy(channel, conn)
	_ = channel.Close()
}
