package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A web page elsewhere, whose name resolves to the loopback, does not read the events of an
// operator on the loopback. One that is for the network is called by names of the network.
func TestEventsOnTheLoopbackAreReadByItsNamesAlone(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]map[string]int{
		"127.0.0.1:0": {"localhost": 200, "127.0.0.1:18082": 200, "[::1]": 200, "attacker.example": 421, "attacker.example:18082": 421, "localhost.attacker.example": 421},
		"0.0.0.0:0":   {"localhost": 200, "fleet-operator:18082": 200, "10.0.0.1": 200},
	} {
		address := serving(t, listen)
		for host, code := range want {
			if got := asked(t, address, "/api/v1/events", host); got != code {
				t.Errorf("on %s, events are asked for as %s: %d, want %d", listen, host, got, code)
			}
			if got := asked(t, address, "/metrics", host); got != http.StatusOK {
				t.Errorf("on %s, metrics are asked for as %s: %d", listen, host, got)
			}
		}
	}
}

// A client that asks for nothing, or sends or reads nothing, does not keep its connection for ever,
// and none fills the memory with its header.
func TestAConnectionForNothingIsClosed(t *testing.T) {
	t.Parallel()
	server := httpServer(t.Context(), http.NotFoundHandler())
	for what, bound := range map[string]time.Duration{
		"before its header": server.ReadHeaderTimeout, "before its body": server.ReadTimeout, "while it does not read": server.WriteTimeout, "between two requests": server.IdleTimeout,
	} {
		if bound <= 0 || bound > 5*time.Minute {
			t.Errorf("%s it is kept for %s", what, bound)
		}
	}
	if server.MaxHeaderBytes <= 0 || server.MaxHeaderBytes > 64<<10 {
		t.Errorf("a header may have %d bytes", server.MaxHeaderBytes)
	}
}

// piped is a listener at which connections come that a test has the other ends of.
type piped chan net.Conn

func (p piped) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p piped) Close() error {
	close(p)
	return nil
}

func (p piped) Addr() net.Addr { return &net.TCPAddr{} }

// bodySaid has a server answer a request whose body has so many bytes, of which the client sends
// these, on a clock of its own. It gives what comes back until the server closes the connection.
func bodySaid(t *testing.T, length int, sent string, h http.HandlerFunc) (said string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := make(piped)
		server := httpServer(t.Context(), h)
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		conn, at := net.Pipe()
		l <- at
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", length, sent); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(conn)
		if err != nil {
			t.Error(err)
		}
		said = string(all)
		_ = conn.Close()
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return said
}

// The server itself waits for a body that a handler does not read: not for longer than it waits for
// a request.
func TestABodyThatNeverComesEndsTheConnection(t *testing.T) {
	t.Parallel()
	bodySaid(t, 100, "ten bytes…", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusUnauthorized, "sign in") })
}

// A client that sent all of its request may wait for the answer for longer than the server waits
// for a request.
func TestAnAnswerMayTakeLongerThanTheRequest(t *testing.T) {
	t.Parallel()
	got := bodySaid(t, 4, "body", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			err = r.Context().Err()
		case <-time.After(2 * readTime):
		}
		answer(w, http.StatusOK, fmt.Sprint("after a while: ", err))
	})
	if !strings.Contains(got, "after a while: <nil>") {
		t.Errorf("the answer is %q", got)
	}
}

// Who waits for an answer when the operator ends is told that, and not that nobody waits.
func TestAnAnswerThatTheOperatorsEndBreaksOffIsStillSent(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	over, done := make(chan struct{}), make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stop()
		<-r.Context().Done()
		select {
		case <-over:
			t.Error("the server does not wait until the answer is sent")
		case <-time.After(100 * time.Millisecond):
		}
		answer(w, http.StatusServiceUnavailable, context.Cause(r.Context()).Error())
	})
	go func() {
		done <- serveHTTP(ctx, l, h, slog.New(slog.DiscardHandler), "a test")
		close(over)
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if text, err := io.ReadAll(got.Body); err != nil || got.StatusCode != http.StatusServiceUnavailable || string(text) != errEnding.Error()+"\n" {
		t.Errorf("%s %q (%v)", got.Status, text, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// serving serves until the test ends, and says where on the loopback.
func serving(t *testing.T, listen string) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", listen)
	if err != nil {
		t.Fatal(err)
	}
	s := server{
		gatherer: prometheus.NewRegistry(), unready: func() string { return "" }, logger: slog.New(slog.DiscardHandler),
		events: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "events") }),
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func asked(t *testing.T, address, path, host string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if _, err := io.Copy(io.Discard, a.Body); err != nil {
		t.Fatal(err)
	}
	return a.StatusCode
}
