package natstest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Servers is a cluster whose JetStream has elected its leader.
type Servers struct {
	Nodes []*Server
}

// Cluster starts n servers that form one cluster and end with the test.
func Cluster(tb testing.TB, n int, options ...Option) *Servers {
	tb.Helper()
	routes := make([]*url.URL, n)
	ports := make([]int, n)
	for i := range n {
		ports[i] = FreePort(tb)
		routes[i] = &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[i])}
	}
	c := &Servers{}
	for i := range n {
		dir := tb.TempDir()
		s := &Server{tb: tb, options: func() *server.Options {
			o := &server.Options{
				ServerName: fmt.Sprintf("node-%d", i+1), StoreDir: dir, Routes: routes,
				Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]},
			}
			quiet(o)
			for _, f := range options {
				f(o)
			}
			return o
		}}
		s.opts = s.options()
		srv, err := server.NewServer(s.opts.Clone())
		if err != nil {
			tb.Fatalf("start NATS server: %v", err)
		}
		srv.Start()
		s.srv = srv
		tb.Cleanup(s.Stop)
		c.Nodes = append(c.Nodes, s)
	}
	c.await(tb)
	return c
}

// ClusterOf starts a server by each configuration file, as in production. The files
// say that the servers form one cluster. What is changed in them is read at a reload
// and at a restart.
func ClusterOf(tb testing.TB, files ...string) *Servers {
	tb.Helper()
	c := &Servers{}
	for _, file := range files {
		s := &Server{tb: tb, file: file}
		s.begin()
		tb.Cleanup(s.Stop)
		c.Nodes = append(c.Nodes, s)
	}
	c.await(tb)
	return c
}

// await waits until the cluster's JetStream has elected its leader.
func (c *Servers) await(tb testing.TB) {
	tb.Helper()
	n := len(c.Nodes)
	for _, s := range c.Nodes {
		if !s.srv.ReadyForConnections(time.Minute) {
			tb.Fatal("NATS cluster: not ready after a minute")
		}
		s.opts.Port = s.srv.Addr().(*net.TCPAddr).Port
	}
	deadline := time.Now().Add(3 * time.Minute)
	for !c.current(n) {
		if time.Now().After(deadline) {
			tb.Fatal("NATS cluster: JetStream has no leader after 3 minutes")
		}
		time.Sleep(50 * time.Millisecond) // poll: the election takes what it takes
	}
}

func (c *Servers) current(n int) bool {
	leader := false
	for _, s := range c.Nodes {
		if s.srv.JetStreamIsLeader() {
			leader = true
		}
		if s.srv.NumRoutes() < n-1 {
			return false
		}
	}
	if !leader {
		return false
	}
	for _, s := range c.Nodes {
		if !s.srv.JetStreamIsCurrent() {
			return false
		}
	}
	return true
}

// Connect connects to all servers.
func (c *Servers) Connect(tb testing.TB, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	tb.Helper()
	nc := connect(tb, c.URL(), options...)
	return nc, jetStream(tb, nc)
}

// URL lists all servers.
func (c *Servers) URL() string {
	all := ""
	for i, s := range c.Nodes {
		if i > 0 {
			all += ","
		}
		all += s.URL()
	}
	return all
}

// Request sends m and waits for an answer. Where nobody answers it sends again
// until the deadline of 30 s: a route of a young cluster, or of one that chooses
// a leader, may not have told the client's server yet who listens.
func Request(nc *nats.Conn, m *nats.Msg, timeout time.Duration) (*nats.Msg, error) {
	for deadline := time.Now().Add(30 * time.Second); ; {
		answer, err := nc.RequestMsg(m, timeout)
		if !errors.Is(err, nats.ErrNoResponders) || time.Now().After(deadline) {
			return answer, err
		}
		time.Sleep(20 * time.Millisecond) // poll: no event tells that a route learned it
	}
}

// FreePort gives a port below those that the kernel hands out by itself, so that
// no connection of another test takes it before the server listens.
func FreePort(tb testing.TB) int {
	tb.Helper()
	var listen net.ListenConfig
	for range 100 {
		port := 10_000 + rand.N(20_000)
		l, err := listen.Listen(tb.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			tb.Fatal(err)
		}
		return port
	}
	tb.Fatal("no free port was found in 100 tries")
	return 0
}
