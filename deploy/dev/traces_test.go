package dev

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/collectortest"
)

// One change is followed by its trace id through every component: the resource, the log,
// the message that reaches the device, what the agent does and reports, the decision, the
// append and the status. Its spans are one tree.
func TestAChangeIsOneTraceThroughEveryComponent(t *testing.T) {
	t.Parallel()
	collector := collectortest.Start(t)
	o := Options{DataDir: t.TempDir(), Devices: 3, Engine: EngineMemory, PulseInterval: 2 * time.Second, TraceEndpoint: collector.URL}
	err := Run(t.Context(), o, func(ctx context.Context, f *Fleet) error {
		c, err := newCrowd(t, f)
		if err != nil {
			return err
		}
		live, err := c.live()
		if err != nil {
			return err
		}
		for n := range 2 { // a first revision, and a change of it
			if err := c.apply(ctx, "web", map[string]string{"site": "lab"}, n); err != nil {
				return err
			}
			if err := c.succeeded(ctx, "web", 3); err != nil {
				return err
			}
		}
		ids, err := c.traceIDs(ctx, "web")
		if err != nil {
			return err
		}
		if len(ids) != 2 || ids[0] == ids[1] {
			return fmt.Errorf("two changes have the traces %v", ids)
		}
		for _, id := range ids {
			if err := c.oneTree(ctx, collector, id); err != nil {
				return err
			}
			if err := c.namedByEvents(ctx, id, live()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// live keeps the traces that messages name which reach devices.
func (c *crowd) live() (func() []string, error) {
	var mu sync.Mutex
	var got []string
	s, err := c.js.Conn().Subscribe(eventlog.LiveSubject(eventlog.Wildcard, eventlog.Wildcard), func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, traceOf(m.Header.Get(eventlog.HeaderTraceparent)))
	})
	if err != nil {
		return nil, err
	}
	c.t.Cleanup(func() { _ = s.Unsubscribe() }) // the connection may be closed by then
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}, c.js.Conn().Flush()
}

func traceOf(traceparent string) string {
	x, err := eventlog.ParseTraceContext(traceparent)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(x.TraceID[:])
}

// traceIDs are the traces of a Deployment's changes, in order.
func (c *crowd) traceIDs(ctx context.Context, name string) (ids []string, err error) {
	for e, err := range reader.Read(ctx, c.js, reader.Options{Subjects: []string{eventlog.DeploymentSubject(namespace, name)}}) {
		if err != nil {
			return nil, err
		}
		if e.Type == eventlog.DeploymentApplied {
			ids = append(ids, traceOf(e.Traceparent))
		}
	}
	return ids, nil
}

// namedByEvents checks that events of each component name a trace.
func (c *crowd) namedByEvents(ctx context.Context, id string, live []string) error {
	wanted := []eventlog.Type{
		eventlog.DeploymentApplied, eventlog.RolloutStarted, eventlog.DesiredAssigned, eventlog.AgentStepSucceeded, eventlog.StateReported, eventlog.RolloutCompleted,
	}
	got := map[eventlog.Type]int{}
	for e, err := range reader.Read(ctx, c.js, reader.Options{}) {
		if err != nil {
			return err
		}
		if traceOf(e.Traceparent) == id {
			got[e.Type]++
		}
	}
	for _, t := range wanted {
		if got[t] == 0 {
			return fmt.Errorf("no %s names the trace %s; %v do", t, id, got)
		}
	}
	if !slices.Contains(live, id) {
		return fmt.Errorf("no message to a device names the trace %s", id)
	}
	return nil
}

// oneTree waits until the spans of all components are there, and checks that each has its
// parent.
func (c *crowd) oneTree(ctx context.Context, collector *collectortest.Collector, id string) error {
	wanted := []string{
		"fleet-operator change", "fleet-operator batch", "fleet-operator device", "fleet-operator decide", "fleet-operator append", "fleet-operator status",
		"fleet-agent report running", "fleet-agent ready",
	}
	var spans []collectortest.Span
	err := until(ctx, time.Minute, func(context.Context) (bool, string, error) {
		spans = collector.Trace(id)
		names := map[string]int{}
		for _, s := range spans {
			names[s.Service+" "+s.Name]++
		}
		for _, w := range wanted {
			if names[w] == 0 {
				return false, fmt.Sprintf("no span %q among %v", w, names), nil
			}
		}
		steps := slices.ContainsFunc(spans, func(s collectortest.Span) bool {
			return s.Service == "fleet-agent" && s.Name == "start" && s.Attributes["fleet.device"] != ""
		})
		return steps && names["fleet-operator device"] == 3, fmt.Sprintf("spans %v", names), nil
	})
	if err != nil {
		return fmt.Errorf("trace %s: %w", id, err)
	}
	byID, roots := map[string]collectortest.Span{}, 0
	for _, s := range spans {
		if other, ok := byID[s.ID]; ok {
			return fmt.Errorf("spans %s and %s have one id", s.Name, other.Name)
		}
		byID[s.ID] = s
	}
	for _, s := range spans {
		if s.Parent == "" {
			roots++
		} else if _, ok := byID[s.Parent]; !ok {
			return fmt.Errorf("span %s of %s has a parent that is not there", s.Name, s.Attributes["fleet.device"])
		}
	}
	if roots != 1 {
		return fmt.Errorf("trace %s has %d roots", id, roots)
	}
	c.t.Log(strings.Join(namesOf(spans), ", "))
	return nil
}

func namesOf(spans []collectortest.Span) (names []string) {
	for _, s := range spans {
		names = append(names, fmt.Sprintf("%s/%s %v", s.Service, s.Name, s.End.Sub(s.Begin).Round(time.Millisecond)))
	}
	slices.Sort(names)
	return names
}
