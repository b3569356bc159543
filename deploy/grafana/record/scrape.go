package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metrics "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"fleet.nationtech.io/deploy/dev/prometheus"
)

// agents is how many of the agents are scraped from the beginning: enough for the
// panels of one.
const agents = 1

// kept are metrics of processes that dashboards show. All of the fleet's are kept.
var kept = []string{"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds", "go_goroutines"}

// recording is what was scraped.
type recording struct {
	zero    time.Time // where the time of the recording begins
	scrapes int
	series  map[string][]float64 // by name and labels; NaN where there was none

	mu      sync.Mutex
	targets []prometheus.Target
	others  []prometheus.Target // agents that are not scraped
}

// lead is what is left empty at the beginning, so that what happened shortly before has
// a time of its own.
const lead = 5 * time.Minute

// newRecording records the operator, the callouts and a few of the agents.
func newRecording(all []prometheus.Target, now time.Time) *recording {
	r := &recording{zero: now.Add(-lead), scrapes: int(lead / interval), series: map[string][]float64{}}
	n := 0
	for _, t := range all {
		switch {
		case t.Job == "fleet-operator":
			t.Instance = "operator-1" // its port differs each time
			r.targets = append(r.targets, t)
		case t.Job != "fleet-agent":
			r.targets = append(r.targets, t)
		case n < agents:
			n++
			r.targets = append(r.targets, t)
		default:
			r.others = append(r.others, t)
		}
	}
	return r
}

// failing scrapes, from now on, one of the agents that had a step fail.
func (r *recording) failing(ctx context.Context) error {
	for _, t := range r.others {
		body, err := get(ctx, t)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(body)
		_ = body.Close()
		if err != nil {
			return err
		}
		if failedStep.Match(text) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.targets = append(r.targets, t)
			return nil
		}
	}
	return errors.New("no agent had a step fail")
}

var failedStep = regexp.MustCompile(`fleet_agent_steps_total\{reason="[A-Z]`)

// run scrapes until the context ends.
func (r *recording) run(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		r.mu.Lock()
		targets := slices.Clone(r.targets)
		r.mu.Unlock()
		for _, t := range targets {
			if err := r.scrape(ctx, t); err != nil && ctx.Err() == nil {
				return err
			}
		}
		r.scrapes++
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func get(ctx context.Context, t prometheus.Target) (io.ReadCloser, error) {
	path := t.Path
	if path == "" {
		path = "/metrics"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.Address+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

func (r *recording) scrape(ctx context.Context, t prometheus.Target) error {
	body, err := get(ctx, t)
	if err != nil {
		return err
	}
	defer body.Close()
	r.add("up", t, nil, 1)
	decoder := expfmt.NewDecoder(body, expfmt.NewFormat(expfmt.TypeTextPlain))
	for {
		var family metrics.MetricFamily
		err := decoder.Decode(&family)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("scrape %s: %w", t.Instance, err)
		}
		if !strings.HasPrefix(family.GetName(), "fleet_") && !slices.Contains(kept, family.GetName()) {
			continue
		}
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.Now()}, &family)
		if err != nil {
			return fmt.Errorf("scrape %s: %w", t.Instance, err)
		}
		for _, s := range samples {
			name := string(s.Metric[model.MetricNameLabel])
			value := float64(s.Value)
			if strings.HasSuffix(name, "_timestamp_seconds") && value > 0 {
				value -= float64(r.zero.UnixMilli()) / 1000 // a test's time begins at 0
			}
			r.add(name, t, s.Metric, value)
		}
	}
}

func (r *recording) add(name string, t prometheus.Target, m model.Metric, value float64) {
	labels := []string{`instance="` + t.Instance + `"`, `job="` + t.Job + `"`}
	for k, v := range m {
		if k != model.MetricNameLabel {
			labels = append(labels, string(k)+"="+strconv.Quote(string(v)))
		}
	}
	slices.Sort(labels)
	key := name + "{" + strings.Join(labels, ",") + "}"
	values := r.series[key]
	for len(values) < r.scrapes {
		values = append(values, math.NaN())
	}
	r.series[key] = append(values, math.Round(value*1000)/1000)
}

// write gives the series in the notation of promqltest: each value, and how often it
// was there again.
func (r *recording) write(w io.Writer) error {
	keys := make([]string, 0, len(r.series))
	for k := range r.series {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	fmt.Fprintf(&b, "# Recorded by deploy/grafana/record. Timestamps count from the beginning.\nload %s\n", interval)
	for _, k := range keys {
		b.WriteString("  " + k)
		values := r.series[k]
		for len(values) < r.scrapes {
			values = append(values, math.NaN())
		}
		for i := 0; i < len(values); {
			n := 1
			for i+n < len(values) && same(values[i], values[i+n]) {
				n++
			}
			if i > 0 && math.IsNaN(values[i]) && !math.IsNaN(values[i-1]) {
				b.WriteString(" stale") // as Prometheus marks a series that has gone
				i++
				n--
			}
			if n > 0 {
				b.WriteString(" " + written(values[i], n))
			}
			i += n
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func written(value float64, times int) string {
	text := strconv.FormatFloat(value, 'f', -1, 64)
	switch {
	case math.IsNaN(value) && times == 1:
		return "_"
	case math.IsNaN(value):
		return fmt.Sprintf("_x%d", times)
	case times == 1:
		return text
	}
	return fmt.Sprintf("%sx%d", text, times-1)
}
