//go:build e2e

package enrolment_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// address is where an SSH server listens, or should.
type address struct {
	hostPort string
	known    string // its line of known_hosts; empty: it has none
}

// serve listens on the loopback until the test ends, and has each connection handled.
func serve(t *testing.T, handle func(net.Conn)) (hostPort string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			serving.Go(func() { handle(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends Accept
		mu.Lock()
		for _, c := range open {
			_ = c.Close() // it may be closed already
		}
		mu.Unlock()
		serving.Wait()
	})
	return l.Addr().String()
}

// closedPort is an address on which nobody listens.
func closedPort(t *testing.T) address {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return address{hostPort: l.Addr().String()}
}

// silent takes connections and says nothing.
func silent(t *testing.T) address {
	t.Helper()
	return address{hostPort: serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })} // until the client gives up
}

// web is a server that does not speak SSH.
func web(t *testing.T) address {
	t.Helper()
	return address{hostPort: serve(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") // who asked may be gone
		_ = c.Close()
	})}
}

// refusing is an SSH server that lets nobody in.
func refusing(t *testing.T) address {
	t.Helper()
	signer := hostKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return nil, errors.New("this SSH server accepts no key")
	}}
	config.AddHostKey(signer)
	hostPort := serve(t, func(c net.Conn) {
		defer c.Close()
		if conn, _, _, err := ssh.NewServerConn(c, config); err == nil {
			t.Errorf("the server let %s in", conn.User())
		}
	})
	return address{hostPort, knownHost(hostPort, signer.PublicKey())}
}

// changed is a server whose host key is not the one that is known.
func changed(t *testing.T) address {
	t.Helper()
	a := refusing(t)
	a.known = knownHost(a.hostPort, hostKey(t).PublicKey())
	return a
}

func hostKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// knownHost is a line of known_hosts.
func knownHost(hostPort string, key ssh.PublicKey) string {
	return knownName(hostPort) + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
}

// knownName is what known_hosts calls a server that does not listen on port 22.
func knownName(hostPort string) string {
	host, port, _ := net.SplitHostPort(hostPort)
	return "[" + host + "]:" + port
}
