// Package traces exports by OTLP what changes consist of: the spans that follow from the
// log, and how long this replica took to decide, to append and to write statuses. Only the
// replica that leads exports them, and nothing ever waits for the collector.
package traces

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// DefaultDevices is of how many assignments of a change the spans are exported.
const DefaultDevices = 100

// Names of the services in traces.
const (
	serviceOperator = "fleet-operator"
	serviceAgent    = "fleet-agent"
)

// Configured says whether spans are to be exported: an endpoint is given, by a flag or by the
// variables that OpenTelemetry defines, and nothing turns traces off.
func Configured(endpoint string, getenv func(string) string) bool {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return endpoint != "" || getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// State is the fold of the log.
type State interface{ Do(fn func(*decide.State)) }

// Options wire Traces.
type Options struct {
	JS    jetstream.JetStream
	State State
	// Endpoint is the collector's URL for OTLP over HTTP; empty: the environment says it.
	Endpoint string
	// Devices is of how many assignments of a change the spans are exported, beside those that
	// fail. It bounds in the same way how many rounds of decisions and how many status
	// writes of a change are exported.
	Devices int
	// Assignments is how many assignments are followed at a time; 0: spans.MaxAssignments.
	Assignments int
	Identity    string // of the replica
	Metrics     *Metrics
	Now         func() time.Time
	Logger      *slog.Logger
}

// Traces exports spans. A nil Traces exports none.
type Traces struct {
	options Options

	mu       sync.Mutex
	operator trace.Tracer // nil while Run does not work
	agent    trace.Tracer
	measured map[[8]byte]int // exported spans of this replica's own work, by the change's span
	logID    string
	last     uint64 // of that log: the last event whose spans were exported, and whose drops are counted
}

// New wires Traces.
func New(o Options) *Traces { return &Traces{options: o, measured: map[[8]byte]int{}} }

// Run sends what is exported until the context ends.
func (t *Traces) Run(ctx context.Context) error {
	if t == nil {
		<-ctx.Done()
		return nil
	}
	o := t.options
	exporter, err := newExporter(ctx, o.Endpoint)
	if err != nil {
		return err
	}
	q := newQueue(exporter, o.Metrics, o.Logger)
	operator, err := newProvider(q, resourceOf(ctx, serviceOperator, o.Identity))
	if err != nil {
		return err
	}
	agent, err := newProvider(q, resourceOf(ctx, serviceAgent, ""))
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.operator, t.agent = operator.Tracer("fleet.nationtech.io/operator"), agent.Tracer("fleet.nationtech.io/agent")
	t.mu.Unlock()
	<-ctx.Done()
	t.mu.Lock()
	t.operator, t.agent = nil, nil
	t.mu.Unlock()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := errors.Join(operator.Shutdown(last), agent.Shutdown(last)); err != nil {
		o.Logger.Debug("the last spans were not sent", "error", err)
	}
	return nil
}

// resourceOf says which service the spans are of. OTEL_RESOURCE_ATTRIBUTES adds to it.
func resourceOf(ctx context.Context, service, instance string) func() (*resource.Resource, error) {
	return func() (*resource.Resource, error) {
		of := []attribute.KeyValue{attribute.String("service.name", service), attribute.String("service.namespace", "fleet")}
		if instance != "" {
			of = append(of, attribute.String("service.instance.id", instance), attribute.String("service.version", version.Version))
		}
		r, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithAttributes(of...))
		if errors.Is(err, resource.ErrPartialResource) || errors.Is(err, resource.ErrSchemaURLConflict) {
			return r, nil // what could be read counts
		}
		return r, err
	}
}

// Round exports how long this replica took to decide on events and to append them. The state
// has folded them.
func (t *Traces) Round(drafts []eventlog.Draft, began, decided, appended time.Time) {
	if t == nil {
		return
	}
	of := countByDeployment(drafts)
	if len(of) == 0 {
		return
	}
	roots := map[fleet.Key]eventlog.TraceContext{}
	t.options.State.Do(func(s *decide.State) {
		for key := range of {
			if d := s.View().Deployments[key]; d != nil {
				if root, ok := d.TraceRoot(); ok {
					roots[key] = root
				}
			}
		}
	})
	for key, n := range of {
		root, ok := roots[key]
		if !ok || !t.admits(root, n.ofDeployment) {
			continue
		}
		attributes := []attribute.KeyValue{
			attribute.String("fleet.deployment", key.String()), attribute.Int("fleet.events", n.events), attribute.Int("fleet.round.events", len(drafts)),
		}
		t.exportMeasured(root, "decide", trace.SpanKindInternal, began, decided, nil, attributes...)
		t.exportMeasured(root, "append", trace.SpanKindProducer, decided, appended, nil,
			append(attributes, attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", eventlog.LogStream))...)
	}
}

// count is how many events of a round are of a Deployment.
type count struct {
	events       int
	ofDeployment bool // one of them is about the Deployment itself
}

// countByDeployment counts the events that belong to a trace.
func countByDeployment(drafts []eventlog.Draft) map[fleet.Key]count {
	of := map[fleet.Key]count{}
	for i := range drafts {
		d := &drafts[i]
		if d.Traceparent == "" {
			continue
		}
		a, err := eventlog.ParseSubject(d.Subject)
		if err != nil {
			continue
		}
		key := fleet.Key{Namespace: a.Namespace, Name: a.Name}
		if a.Family == eventlog.FamilyDesired {
			key = fleet.Key{Namespace: d.Namespace, Name: a.Deployment}
		}
		n := of[key]
		n.events++
		n.ofDeployment = n.ofDeployment || a.Family == eventlog.FamilyDeployment && d.Type != eventlog.RolloutGateMeasured
		of[key] = n
	}
	return of
}

// settleTime is how long a status write counts as part of a change that is through.
const settleTime = time.Minute

// StatusWritten exports that the status of a Deployment was written.
func (t *Traces) StatusWritten(key fleet.Key, began, ended time.Time, err error) {
	if t == nil {
		return
	}
	var root eventlog.TraceContext
	part := false
	t.options.State.Do(func(s *decide.State) {
		d := s.View().Deployments[key]
		if d == nil || d.Lifecycle != fleet.Applied || d.Through() && t.options.Now().Sub(throughAt(d)) > settleTime {
			return
		}
		root, part = d.Trace.Root(&d.Spec)
	})
	if part && t.admits(root, false) {
		t.exportMeasured(root, "status", trace.SpanKindClient, began, ended, err, attribute.String("fleet.deployment", key.String()), attribute.String("server.address", "kubernetes"))
	}
}

// maxMeasured bounds the changes whose spans are counted; beyond that counting begins again.
const maxMeasured = 4096

// admits says whether one more span of this replica's own work is exported of a change.
func (t *Traces) admits(root eventlog.TraceContext, always bool) bool {
	if !root.Sampled() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.measured) > maxMeasured {
		clear(t.measured)
	}
	if t.options.Devices > 0 && t.measured[root.SpanID] >= t.options.Devices && !always {
		return false
	}
	t.measured[root.SpanID]++
	return true
}
