package natstest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Proxy stands between clients and a server, and can stall what the server sends,
// as a busy network does, or lose a message of it.
type Proxy struct {
	listener net.Listener
	server   string
	passed   atomic.Int64

	mu   sync.Mutex
	drop func(subject string) bool
	till time.Time // the moment up to which nothing passes
}

// Proxy starts a proxy of the server that ends with the test.
func (s *Server) Proxy(tb testing.TB) *Proxy {
	tb.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: l, server: strings.TrimPrefix(s.URL(), "nats://")}
	var serving sync.WaitGroup
	serving.Go(func() { p.serve(tb, &serving) })
	tb.Cleanup(func() {
		_ = l.Close() // ends serve
		serving.Wait()
	})
	return p
}

// Connect connects by the proxy and closes with the test.
func (p *Proxy) Connect(tb testing.TB, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	tb.Helper()
	nc := connect(tb, "nats://"+p.listener.Addr().String(), options...)
	return nc, jetStream(tb, nc)
}

// Stall lets nothing of the server's pass for a while. The connection stays.
func (p *Proxy) Stall(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.till = time.Now().Add(d)
}

// Drop loses each message of the server's for which lose says so. The server
// takes it for delivered.
func (p *Proxy) Drop(lose func(subject string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop = lose
}

// Passed is how many bytes of the server's have come to clients.
func (p *Proxy) Passed() int64 { return p.passed.Load() }

func (p *Proxy) serve(tb testing.TB, serving *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close() // it tries again
			continue
		}
		serving.Go(func() {
			defer server.Close()
			_, _ = io.Copy(server, client) // either end may close
		})
		serving.Go(func() {
			defer client.Close()
			if err := p.relay(client, bufio.NewReader(server)); err != nil {
				tb.Logf("proxy: %v", err)
			}
		})
	}
}

// relay passes on what a server sends, line by line, and each message whole.
func (p *Proxy) relay(client io.Writer, server *bufio.Reader) error {
	for {
		line, err := server.ReadString('\n')
		if err != nil {
			return nil //nolint:nilerr // the server, or the client, closed
		}
		body, subject, err := message(line, server)
		if err != nil {
			return err
		}
		if p.loses(subject) {
			continue
		}
		time.Sleep(time.Until(p.stalledTill()))
		n, err := io.WriteString(client, line+body)
		p.passed.Add(int64(n))
		if err != nil {
			return nil //nolint:nilerr // the client closed
		}
	}
}

func (p *Proxy) loses(subject string) bool {
	p.mu.Lock()
	lose := p.drop
	p.mu.Unlock()
	return subject != "" && lose != nil && lose(subject) // which may stall
}

func (p *Proxy) stalledTill() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.till
}

// message reads what follows a line that begins a message: MSG or HMSG, subject,
// subscription, perhaps a reply subject, sizes of which the last is the whole.
func message(line string, r io.Reader) (body, subject string, err error) {
	f := strings.Fields(line)
	if len(f) < 4 || f[0] != "MSG" && f[0] != "HMSG" {
		return "", "", nil
	}
	n, err := strconv.Atoi(f[len(f)-1])
	if err != nil {
		return "", "", fmt.Errorf("%q: %w", line, err)
	}
	b := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(r, b); err != nil {
		return "", "", err
	}
	return string(b), f[1], nil
}
