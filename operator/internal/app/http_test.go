package app

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A web page elsewhere, whose name resolves to the loopback, does not read the events of an
// operator on the loopback. One that is for the network is called by names of the network.
func TestEventsOnTheLoopbackAreReadByItsNamesAlone(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]map[string]int{
		"127.0.0.1:0": {"localhost": 200, "127.0.0.1:18080": 200, "[::1]": 200, "attacker.example": 421, "attacker.example:18080": 421, "localhost.attacker.example": 421},
		"0.0.0.0:0":   {"localhost": 200, "fleet-operator:18080": 200, "10.0.0.1": 200},
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

// A client that asks for nothing does not keep its connection for ever.
func TestAConnectionForNothingIsClosed(t *testing.T) {
	t.Parallel()
	server := httpServer(t.Context(), http.NotFoundHandler())
	for what, bound := range map[string]time.Duration{"before its first words": server.ReadHeaderTimeout, "between two requests": server.IdleTimeout} {
		if bound <= 0 || bound > 5*time.Minute {
			t.Errorf("%s it is kept for %s", what, bound)
		}
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
