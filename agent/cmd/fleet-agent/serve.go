package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	actors "github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/memory"
	"fleet.nationtech.io/agent/engine/podman"
	"fleet.nationtech.io/eventlog/processmetrics"
)

// serve wires the process and works until the context ends.
func serve(ctx context.Context, c config.Config, log *slog.Logger) error {
	registry := processmetrics.NewRegistry("fleet-agent")
	e, err := newEngine(c, log)
	if err != nil {
		return err
	}
	a, err := agent.New(c, agent.Options{Engine: e, Logger: log, Registry: registry, Invocation: os.Getenv("INVOCATION_ID")})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var group actors.Group
	add := func(work func(context.Context) error) {
		inner, stop := context.WithCancel(ctx)
		group.Add(func() error { return work(inner) }, func(error) { stop() })
	}
	add(a.Run)
	add(func(ctx context.Context) error { return notify(ctx, a, log) })
	if c.Metrics.Listen != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Metrics.Listen)
		if err != nil {
			return fmt.Errorf("listen for metrics: %w", err)
		}
		add(func(ctx context.Context) error { return serveMetrics(ctx, l, registry, a) })
	}
	return group.Run()
}

func newEngine(c config.Config, log *slog.Logger) (engine.Engine, error) {
	if c.Podman.Engine == config.EngineMemory {
		log.Warn("podman.engine is memory: this agent runs no real containers")
		return memory.New(memory.Options{Device: c.DeviceID, StateFile: filepath.Join(c.DataDir, "containers.json")})
	}
	return podman.New(podman.Options{Device: c.DeviceID, Socket: c.Podman.Socket, DataDir: c.DataDir})
}

// watchdogTimeout is how long the agent's loop may take for one turn before
// systemd is no longer told that it lives.
const watchdogTimeout = 2 * time.Minute

// notify tells systemd (sd_notify(3)) that the agent is ready, and, where the
// unit has a watchdog, that it goes on turning.
func notify(ctx context.Context, a *agent.Agent, log *slog.Logger) error {
	select {
	case <-ctx.Done():
		return nil
	case <-a.Ready():
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("cannot tell systemd that the agent is ready", "error", err)
	}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("cannot read the watchdog settings from systemd", "error", err)
	}
	if err != nil || interval <= 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if still := time.Since(a.LastTick()); still > watchdogTimeout {
			log.Error("the reconcile loop is stuck; systemd restarts the agent", "since", still)
			continue
		}
		if _, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil {
			log.Warn("cannot send the watchdog signal to systemd", "error", err)
		}
	}
}

func serveMetrics(ctx context.Context, l net.Listener, registry *prometheus.Registry, a *agent.Agent) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if still := time.Since(a.LastTick()); still > watchdogTimeout {
			http.Error(w, "the agent's loop stands still", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
