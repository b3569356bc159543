package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/eventsapi"
)

// server answers /metrics, /healthz (the process lives), /readyz (it knows what it is to
// know, whether it leads or stands by) and /api/v1/events.
type server struct {
	gatherer prometheus.Gatherer
	events   http.Handler  // nil: not served
	unready  func() string // why the replica is of no use yet; empty when it is
	logger   *slog.Logger
}

// serve answers until the context ends.
func (s server) serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := s.unready(); why != "" {
			answer(w, http.StatusServiceUnavailable, why)
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	if s.events != nil {
		events := s.events
		if dashboard.Loopback(l.Addr().String()) { // else its clients call it by whatever name the network gave it
			events = dashboard.LoopbackNames(events)
		}
		mux.Handle("GET "+eventsapi.Path, events)
	}
	s.logger.Info("serving", "address", l.Addr().String())
	return serveHTTP(ctx, l, mux, s.logger, "metrics and health")
}

// errEnding is the cause with which the context of a request ends that is answered when the operator
// ends.
var errEnding = errors.New("the operator is ending")

// serveHTTP answers until the context ends, and then tells those who still wait.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, logger *slog.Logger, what string) error {
	base, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(errEnding)
	server := httpServer(base, h)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		end(errEnding)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			logger.Debug("HTTP server did not end in time", "error", err)
		}
	})
	err := server.Serve(netutil.LimitListener(l, maxConnections))
	if !stop() {
		<-told
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", what, err)
	}
	return nil
}

// What a client may keep of a server.
const (
	maxConnections = 2000             // at a time; more wait to be accepted
	maxHeader      = 32 << 10         // bytes
	headerTime     = 5 * time.Second  // for a request's header
	readTime       = 15 * time.Second // for a whole request with its body, whether a handler reads it or not
	writeTime      = time.Minute      // from a request's header on, for the answer; one that takes longer to make or to send sets its own deadline
	idleTime       = 2 * time.Minute  // between two requests
)

// httpServer bounds how long a client keeps a connection, and how much memory. Once a request is
// read to its end, readTime bounds nothing more of it.
func httpServer(ctx context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
}

func answer(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // who asked has gone away: nobody to tell
}
