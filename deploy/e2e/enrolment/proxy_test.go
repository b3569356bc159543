//go:build e2e

package enrolment_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between fleetctl and a device's sshd, and can cut what goes through it.
type proxy struct {
	t        *testing.T
	listener net.Listener
	target   string

	mu    sync.Mutex
	open  map[net.Conn]bool
	limit int64 // bytes that a connection may send; 0: any number
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, listener: l, target: target, open: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() { p.serve(&serving) })
	t.Cleanup(func() {
		_ = l.Close() // ends serve
		p.cut()
		serving.Wait()
	})
	return p
}

// address is host:port, for a client.
func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve(serving *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		device, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close() // the client is told by that
			continue
		}
		p.mu.Lock()
		p.open[client], p.open[device] = true, true
		sent := io.Reader(client)
		if p.limit > 0 {
			sent = io.LimitReader(client, p.limit)
		}
		p.mu.Unlock()
		for from, to := range map[net.Conn]net.Conn{client: device, device: client} {
			reader := io.Reader(from)
			if from == client {
				reader = sent
			}
			serving.Go(func() {
				defer to.Close()
				_, _ = io.Copy(to, reader) // either end may close
				p.mu.Lock()
				delete(p.open, from)
				p.mu.Unlock()
			})
		}
	}
}

// cutAfter ends each new connection once that many bytes were sent; 0 ends none.
func (p *proxy) cutAfter(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = bytes
}

// cut ends all connections; new ones are let through.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close() // it may be closed already
	}
}
