package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serve answers /metrics, /healthz (the process lives) and /readyz (it knows
// what it is to know, whether it leads or stands by) until the context ends.
func (r *replica) serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.options.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := r.unready(); why != "" {
			say(w, http.StatusServiceUnavailable, why)
			return
		}
		say(w, http.StatusOK, "ok")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			r.options.Logger.Debug("HTTP was cut off", "error", err)
		}
	})
	defer stop()
	r.options.Logger.Info("serving", "address", l.Addr().String())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics and health: %w", err)
	}
	return nil
}

// unready says why the replica is of no use yet; empty when it is.
func (r *replica) unready() string {
	switch {
	case !r.nc.IsConnected():
		return "not connected to NATS"
	case !r.synced():
		return "the Kubernetes API has not shown all yet"
	case !r.fold.Current():
		return "the fold has not caught up with the log yet"
	}
	return ""
}

func say(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // who asked has gone away: nobody to tell
}
