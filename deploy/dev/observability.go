package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	metrics "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"fleet.nationtech.io/deploy/dev/prometheus"
	"fleet.nationtech.io/deploy/grafana/rules"
	"fleet.nationtech.io/eventlog/processmetrics"
	"fleet.nationtech.io/operator"
)

// Jobs, as the dashboards and the rules name them.
const (
	jobOperator = "fleet-operator"
	jobCallout  = "fleet-callout"
	jobAgent    = "fleet-agent"
)

// prometheusReady bounds how long Prometheus may read what it has stored.
const prometheusReady = time.Minute

// registry makes the registry of a part, as its own process has one. The parts share
// one process here, so each says the same of it.
func (r *runner) registry(job, instance string) *metrics.Registry {
	if job != jobOperator && !r.Observability {
		return metrics.NewRegistry()
	}
	registry := processmetrics.NewRegistry(job)
	r.fleet.Registries[job] = registry
	if job != jobOperator { // the operator serves its own
		r.observed = append(r.observed, observed{job, instance, registry})
	}
	return registry
}

// observed is a part whose metrics this process serves.
type observed struct {
	job, instance string
	registry      *metrics.Registry
}

func (o observed) path() string { return "/" + o.job + "/" + o.instance + "/metrics" }

// gatesServer is the name by which gates ask the fleet's own Prometheus.
const gatesServer = "main"

// gateServers are the servers that gates may ask: those that a person named, and the
// fleet's own, whose port is chosen before it runs.
func (r *runner) gateServers(ctx context.Context, remembered *ports) ([]operator.PrometheusServer, error) {
	servers, err := operator.PrometheusServers(r.Prometheus, nil)
	if err != nil || !r.Observability {
		return servers, err
	}
	if slices.ContainsFunc(servers, func(s operator.PrometheusServer) bool { return s.Name == gatesServer }) {
		return servers, nil // a person named another so
	}
	if remembered.Prometheus, err = pick(ctx, r.PrometheusPort, remembered.Prometheus); err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	r.askedByGates = "http://" + loopback(remembered.Prometheus)
	return append(servers, operator.PrometheusServer{Name: gatesServer, URL: r.askedByGates}), nil
}

// upObservability serves the metrics of agents and callouts, and runs Prometheus on the
// fleet. Where Prometheus is not installed it says so, and the fleet goes on without.
func (r *runner) upObservability(ctx context.Context) error {
	if !r.Observability {
		return nil
	}
	l, err := listen(ctx, 0, 0)
	if err != nil {
		return fmt.Errorf("metrics of agents: %w", err)
	}
	mux := http.NewServeMux()
	address := strings.TrimPrefix(r.fleet.Env.OperatorURL, "http://")
	targets := []prometheus.Target{{Job: jobOperator, Instance: address, Address: address}}
	for _, o := range r.observed {
		mux.Handle("GET "+o.path(), promhttp.HandlerFor(o.registry, promhttp.HandlerOpts{}))
		targets = append(targets, prometheus.Target{Job: o.job, Instance: o.instance, Address: l.Addr().String(), Path: o.path()})
	}
	r.fleet.Targets = targets
	r.background(ctx, "metrics of agents", func(ctx context.Context) error { return serve(ctx, l, mux) })

	return r.upPrometheus(ctx, targets)
}

// upPrometheus starts Prometheus on the port that was asked for, the remembered one or a
// free one, and tries another where that is taken just then.
func (r *runner) upPrometheus(ctx context.Context, targets []prometheus.Target) error {
	file, err := rules.File(rules.DefaultRunbooks)
	if err != nil {
		return err
	}
	remembered, err := loadPorts(r.path("ports.json"))
	if err != nil {
		return err
	}
	const tries = 5
	for try := 1; ; try++ {
		if remembered.Prometheus, err = pick(ctx, r.PrometheusPort, remembered.Prometheus); err != nil {
			return fmt.Errorf("prometheus: %w", err)
		}
		address := loopback(remembered.Prometheus)
		server, err := prometheus.Start(prometheus.Options{
			Dir: r.path("prometheus"), Address: address, Interval: "5s", Targets: targets, Rules: file,
		})
		if errors.Is(err, prometheus.ErrNotInstalled) {
			r.say("Prometheus      %v; the fleet runs without it", err)
			return nil
		}
		if err != nil {
			return err
		}
		err = server.Await(ctx, prometheusReady)
		if errors.Is(err, prometheus.ErrPortTaken) && try < tries {
			continue
		}
		if err != nil {
			return fmt.Errorf("prometheus: %w", err)
		}
		r.background(ctx, "Prometheus", server.Run)
		r.fleet.Env.PrometheusURL = "http://" + address
		break
	}
	if err := remembered.save(r.path("ports.json")); err != nil {
		return err
	}
	r.say("Prometheus      %s", r.fleet.Env.PrometheusURL)
	if r.askedByGates != "" && r.askedByGates != r.fleet.Env.PrometheusURL {
		r.say("gates cannot ask it, for its port was taken meanwhile: start fleet-dev again")
	}
	return nil
}

// serve answers until the context ends.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// observabilityHints say how a Grafana is pointed at the fleet.
func (f *Fleet) observabilityHints() string {
	if f.Env.PrometheusURL == "" {
		return ""
	}
	jobs := []string{}
	for _, t := range f.Targets {
		if !slices.Contains(jobs, t.Job) {
			jobs = append(jobs, t.Job)
		}
	}
	return fmt.Sprintf(`  Prometheus %[1]s scrapes %[2]s, and has the rules and alerts.
  Gates of rollouts ask it as server main.
  A Grafana with the dashboards, where Docker or Podman Compose is there:

  FLEET_PROMETHEUS_URL=%[1]s FLEET_OPERATOR_URL=%[3]s \
    docker compose -f deploy/grafana/compose.yaml up grafana

  Another Grafana: give it that Prometheus and deploy/grafana/dashboards; docs/observability.md says how.

`, f.Env.PrometheusURL, strings.Join(jobs, ", "), f.Env.OperatorURL)
}
