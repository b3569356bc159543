// Package natstest starts real NATS servers, in process, for the tests of every
// module. JetStream is never mocked.
package natstest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server is one NATS server with JetStream, on a free port of the loopback.
type Server struct {
	tb   testing.TB
	file string // of its configuration; empty: options has all
	// options are made again at each start: a server takes from accounts what the next
	// one needs.
	options func() *server.Options
	opts    *server.Options
	srv     *server.Server
}

// Option changes how a server starts.
type Option func(*server.Options)

// Config starts the server with a configuration file's text: accounts, users,
// permissions. Port and store directory are still the test's own.
func Config(tb testing.TB, text string) Option {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return func(o *server.Options) {
		parsed, err := server.ProcessConfigFile(file)
		if err != nil {
			tb.Fatalf("NATS configuration: %v", err)
		}
		store, port, cluster, name := o.StoreDir, o.Port, o.Cluster, o.ServerName
		routes := o.Routes
		*o = *parsed
		o.ConfigFile = ""
		o.StoreDir, o.Port, o.Cluster, o.ServerName, o.Routes = store, port, cluster, name, routes
		quiet(o)
	}
}

// PeoplesAccount is the account of a server that PeoplesAPI starts.
const PeoplesAccount = "TEST"

// PeoplesAPI starts the server with one account, which anyone who connects comes into.
// JetStream is there, and also under the subjects that account PEOPLE has of it.
func PeoplesAPI(tb testing.TB) Option {
	tb.Helper()
	return Config(tb, `
accounts { `+PeoplesAccount+` {
  jetstream: enabled
  mappings: { "fleet.api.>": "$JS.API.>" }
  users: [ { user: anybody, password: anybody } ]
} }
no_auth_user: anybody`)
}

// StoreDir keeps the server's data in a directory that the test chose.
func StoreDir(dir string) Option { return func(o *server.Options) { o.StoreDir = dir } }

// patience is how long a server waits for a client that logs in, a client for its server,
// and a client of one server for an answer: on a busy machine each of them stands still for
// seconds.
const patience = 20 * time.Second

func quiet(o *server.Options) {
	if o.AuthTimeout == 0 {
		o.AuthTimeout = patience.Seconds()
	}
	if o.TLSTimeout == 0 {
		o.TLSTimeout = patience.Seconds()
	}
	// A client that is still logging in takes a ping for a refusal, and a server sends its first
	// one after a second or two.
	o.DisableShortFirstPing = true
	o.Host, o.NoLog, o.NoSigs, o.JetStream, o.DontListen = "127.0.0.1", true, true, true, false
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
}

// Start starts a server that stops with the test.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	dir := tb.TempDir()
	s := &Server{tb: tb, options: func() *server.Options {
		o := &server.Options{StoreDir: dir, ServerName: "test"}
		quiet(o)
		for _, f := range options {
			f(o)
		}
		return o
	}}
	s.up()
	tb.Cleanup(s.Stop)
	return s
}

// begin starts the server and does not wait.
func (s *Server) begin() {
	s.tb.Helper()
	if s.file != "" {
		o, err := server.ProcessConfigFile(s.file)
		if err != nil {
			s.tb.Fatalf("NATS configuration: %v", err)
		}
		o.NoLog, o.NoSigs = true, true
		s.opts = o
	} else {
		o := s.options()
		if s.opts != nil {
			o.Port = s.opts.Port
		}
		s.opts = o
	}
	srv, err := server.NewServer(s.opts.Clone())
	if err != nil {
		s.tb.Fatalf("start NATS server: %v", err)
	}
	srv.Start()
	s.srv = srv
}

func (s *Server) up() {
	s.tb.Helper()
	s.begin()
	srv := s.srv
	if !srv.ReadyForConnections(time.Minute) {
		s.tb.Fatal("NATS server: not ready after a minute")
	}
	s.opts.Port = srv.Addr().(*net.TCPAddr).Port // kept over a restart
}

// Stop ends the server and waits until it is gone.
func (s *Server) Stop() {
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
		s.srv = nil
	}
}

// Restart stops the server and starts it on the same port and store.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.up()
}

// Start starts a stopped server again, on the same port and store.
func (s *Server) Start() {
	s.tb.Helper()
	s.up()
}

// Dir is where the server keeps its streams.
func (s *Server) Dir() string { return s.opts.StoreDir }

// Name is the server's name in its cluster.
func (s *Server) Name() string { return s.opts.ServerName }

// Host makes the server listen on that address, for clients that do not run on this
// machine. It comes after Config.
func Host(address string) Option { return func(o *server.Options) { o.Host = address } }

// URL is the server's address, without a user.
func (s *Server) URL() string {
	host := s.opts.Host
	if host == "" {
		host = "127.0.0.1"
	}
	return "nats://" + net.JoinHostPort(host, strconv.Itoa(s.opts.Port))
}

// Clients counts the connections of clients.
func (s *Server) Clients() int { return s.srv.NumClients() }

// Connect connects as options say and closes with the test. One server loses no request:
// where a context has no deadline, its answer is waited for as long as patience says.
func (s *Server) Connect(tb testing.TB, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	tb.Helper()
	nc := connect(tb, s.URL(), options...)
	return nc, jetStream(tb, nc, jetstream.WithDefaultTimeout(patience))
}

func connect(tb testing.TB, url string, options ...nats.Option) *nats.Conn {
	tb.Helper()
	options = append([]nats.Option{
		nats.Timeout(patience), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, options...)
	nc, err := nats.Connect(url, options...)
	if err != nil {
		tb.Fatalf("connect to %s: %v", url, err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

func jetStream(tb testing.TB, nc *nats.Conn, options ...jetstream.JetStreamOpt) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(nc, options...)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

// Raw publishes by the protocol itself, as a client of its own can write headers
// that no library would, and waits until a stream has taken the message.
func (s *Server) Raw(tb testing.TB, subject, header, data string) {
	tb.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "nats://"))
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		tb.Fatal(err)
	}
	fmt.Fprintf(c, "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\nSUB answer 1\r\n")
	fmt.Fprintf(c, "HPUB %s answer %d %d\r\n%s%s\r\nPING\r\n", subject, len(header), len(header)+len(data), header, data)
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if strings.Contains(lines.Text(), `"error":`) {
			tb.Fatalf("publish on %s: %s", subject, lines.Text())
		}
		if strings.Contains(lines.Text(), `"seq":`) {
			return
		}
	}
	tb.Fatalf("publish on %s: no answer", subject)
}

// Subscriptions counts the subscriptions to exactly a subject, of clients of all
// accounts.
func (s *Server) Subscriptions(tb testing.TB, subject string) int {
	tb.Helper()
	z, err := s.srv.Subsz(&server.SubszOptions{Subscriptions: true, Limit: 100_000})
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for _, sub := range z.Subs {
		if sub.Subject == subject {
			n++
		}
	}
	return n
}
