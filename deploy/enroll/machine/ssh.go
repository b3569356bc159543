package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// Options are how devices are reached over SSH.
type Options struct {
	ConfigFile        string   // empty: the person's and the system's; NoConfig: none
	KnownHosts        string   // in place of the configuration's
	AcceptNewHostKeys bool     // a host that is not known yet is trusted and remembered
	Identities        []string // key files, shown before others
	AgentSocket       string   // $SSH_AUTH_SOCK
	Home              string   // the person's home directory
	User              string   // who logs in where nothing else says it
	Secrets           Secrets
	Say               func(string) // is told what a person should know; nil: nobody is
	Timeout           time.Duration
	Handshake         time.Duration // how long a login may take, without the time in which a person types
	KeepAlive         time.Duration // between two questions whether the server is there; three unanswered ones end the connection
}

const (
	defaultTimeout   = 15 * time.Second
	defaultKeepAlive = 15 * time.Second
	keepAliveMisses  = 3
	handshakeTimeout = time.Minute
	passwordTries    = 3
)

// Dialer connects to devices over SSH. What it asks a person, and what it reads from
// files, is for all devices.
type Dialer struct {
	options Options
	config  sshConfig

	hostKeysLock   sync.Mutex
	identitiesLock sync.Mutex
	identities     map[string]ssh.Signer
}

// NewDialer reads the SSH configuration.
func NewDialer(o Options) (*Dialer, error) {
	if o.Secrets == nil {
		o.Secrets = Nobody{}
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Handshake <= 0 {
		o.Handshake = handshakeTimeout
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = defaultKeepAlive
	}
	config, err := readSSHConfig(o.ConfigFile, o.Home)
	if err != nil {
		return nil, err
	}
	return &Dialer{options: o, config: config, identities: map[string]ssh.Signer{}}, nil
}

func (d *Dialer) named(file string) bool { return slices.Contains(d.options.Identities, file) }

// Dial connects to a device. jump is as ProxyJump in the SSH configuration, in place of
// which it is where it is not empty.
func (d *Dialer) Dial(ctx context.Context, t Target, jump string) (Machine, error) {
	way, err := d.route(t, jump)
	if err != nil {
		return nil, err
	}
	m := &remote{name: way[len(way)-1].String()}
	for i, h := range way {
		var over *ssh.Client
		if len(m.clients) > 0 {
			over = m.clients[len(m.clients)-1]
		}
		client, err := d.connect(ctx, h, over, i < len(way)-1)
		if err != nil {
			_ = m.Close()
			return nil, err
		}
		m.clients = append(m.clients, client)
	}
	alive, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.done.Go(func() { keepAlive(alive, m.device(), d.options.KeepAlive) })
	m.root = root{exec: m.exec, user: m.name, secrets: d.options.Secrets}
	return m, nil
}

// connect logs in at one hop, over the one before.
func (d *Dialer) connect(ctx context.Context, h hop, over *ssh.Client, jump bool) (*ssh.Client, error) {
	keys, err := newHostKeys(h)
	if err != nil {
		return nil, err
	}
	conn, err := d.dial(ctx, h, over)
	if err != nil {
		return nil, err
	}
	inAgent, agent := agentSigners(ctx, h.agent)
	defer agent.Close()
	login := &attempt{dialer: d, hop: h, jump: jump, inAgent: inAgent}
	config := &ssh.ClientConfig{
		User: h.user, Auth: login.methods(ctx), HostKeyCallback: d.callback(keys), HostKeyAlgorithms: keys.algorithms,
		ClientVersion: "SSH-2.0-fleetctl",
	}
	// A handshake is ended by its time, and by the person who ends the command. A
	// connection over a jump host knows no deadline. What does not show a host key soon is
	// no SSH server.
	login.timer = time.AfterFunc(min(d.options.Timeout, d.options.Handshake), func() { _ = conn.Close() })
	var answered atomic.Bool
	trusted := config.HostKeyCallback
	config.HostKeyCallback = func(name string, remote net.Addr, key ssh.PublicKey) error {
		answered.Store(true)
		login.timer.Reset(d.options.Handshake)
		return trusted(name, remote, key)
	}
	end := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, h.hostKey, config)
	late := !login.timer.Stop()
	if (!end() || late) && err == nil {
		_ = c.Close()
		err = net.ErrClosed
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		switch {
		case keys.said != nil:
			return nil, keys.said
		case late && !answered.Load():
			return nil, fmt.Errorf("log in at %s: no answer within %v: is that an SSH server?", h, min(d.options.Timeout, d.options.Handshake))
		case late && login.failed == nil:
			return nil, fmt.Errorf("log in at %s: the device did not let in within %v: is it overloaded?", h, d.options.Handshake)
		}
		return nil, login.explain(err)
	}
	return ssh.NewClient(c, channels, requests), nil
}

func (d *Dialer) dial(ctx context.Context, h hop, over *ssh.Client) (net.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	var conn net.Conn
	var err error
	if over == nil {
		conn, err = (&net.Dialer{}).DialContext(bounded, "tcp", h.address)
	} else {
		conn, err = over.DialContext(bounded, "tcp", h.address)
	}
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case bounded.Err() != nil:
		return nil, fmt.Errorf("connect to %s: no answer within %v: is the device on, and is this its address?", h.address, d.options.Timeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("connect to %s: %w: does sshd run there, and on this port?", h.address, err)
	case errors.Is(err, syscall.EHOSTUNREACH):
		return nil, fmt.Errorf("connect to %s: %w: is the device on, and is this its address?", h.address, err)
	}
	return nil, fmt.Errorf("connect to %s: %w", h.address, err)
}

// attempt is one login.
type attempt struct {
	dialer  *Dialer
	hop     hop
	jump    bool // it is a jump host
	inAgent []ssh.Signer

	shown  int   // keys
	failed error // why a key or an answer could not be given
	timer  *time.Timer
}

func (a *attempt) methods(ctx context.Context) []ssh.AuthMethod {
	asked := 0
	password := func() (string, error) {
		asked++
		a.timer.Stop() // a person may take their time; the server's own limit holds
		answer, err := a.dialer.options.Secrets.Ask(ctx, Question{Kind: LoginPassword, Of: a.hop.String(), Again: asked > 1, Jump: a.jump})
		a.timer.Reset(a.dialer.options.Handshake)
		if err != nil {
			a.failed = fmt.Errorf("%s wants a password: %w; copy a key to it (ssh-copy-id %s)", a.hop, err, a.hop.user+"@"+hostOf(a.hop.address))
		}
		return answer, err
	}
	interactive := func(_, _ string, questions []string, echos []bool) ([]string, error) {
		answers := make([]string, len(questions))
		for i := range questions {
			if len(questions) > 1 || echos[i] {
				a.failed = fmt.Errorf("%s asks %q, which this program does not answer: use a key", a.hop, questions[i])
				return nil, a.failed
			}
			var err error
			if answers[i], err = password(); err != nil {
				return nil, err
			}
		}
		return answers, nil
	}
	return []ssh.AuthMethod{
		ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			all, err := a.dialer.signers(ctx, a.hop, a.inAgent)
			if err != nil {
				a.failed = err
			}
			a.shown = len(all)
			return all, err
		}),
		ssh.RetryableAuthMethod(ssh.KeyboardInteractive(interactive), passwordTries),
		ssh.RetryableAuthMethod(ssh.PasswordCallback(password), passwordTries),
	}
}

// explain gives the error of a login that failed.
func (a *attempt) explain(err error) error {
	switch {
	case a.failed != nil:
		return fmt.Errorf("log in at %s: %w", a.hop, a.failed)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("log in at %s: the device takes none of the %d keys that were shown, and no password: copy a key to it (ssh-copy-id %s), or name one by --identity",
			a.hop, a.shown, a.hop.user+"@"+hostOf(a.hop.address))
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("log in at %s: the device ended the connection: is that an SSH server?", a.hop)
	}
	return fmt.Errorf("log in at %s: %w", a.hop, err)
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
