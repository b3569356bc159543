package dev

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metrics "github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog/needs"
	"fleet.nationtech.io/operator"
)

var update = flag.Bool("update", false, "write what is registered into the file that the tests of the dashboards read")

// registeredFile is what queries of dashboards and rules are held against.
const registeredFile = "../grafana/promtest/testdata/registered.txt"

// description is how client_golang writes a metric's description.
var description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: .*, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// ofProcesses are metrics of client_golang that dashboards show. What else it has differs
// by its version and by the machine.
var ofProcesses = []string{"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds", "go_goroutines"}

// registered lists what a registry describes: job, name and labels.
func registered(t *testing.T, job string, r *metrics.Registry) []string {
	t.Helper()
	descs := make(chan *metrics.Desc)
	go func() {
		defer close(descs)
		r.Describe(descs)
	}()
	lines := map[string]bool{}
	for d := range descs {
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("%s is written otherwise than this test knows", d)
		}
		if !strings.HasPrefix(m[1], "fleet_") && !slices.Contains(ofProcesses, m[1]) {
			continue
		}
		labels := strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ' ' })
		for _, l := range strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' }) {
			name, _, _ := strings.Cut(l, "=")
			labels = append(labels, name)
		}
		slices.Sort(labels)
		lines[strings.TrimSpace(job+" "+m[1]+" "+strings.Join(labels, ","))] = true
	}
	var all []string
	for l := range lines {
		all = append(all, l)
	}
	return all
}

// The dashboards' tests read a file, since they are a module of their own. What it has
// is registered by the operator, the callout and an agent.
func TestDashboardsKnowWhatTheBinariesRegister(t *testing.T) {
	t.Parallel()
	var all []string
	o := Options{DataDir: t.TempDir(), Devices: 1, Engine: EngineMemory, Auth: AuthOIDC, Observability: true}
	err := Run(t.Context(), o, func(_ context.Context, f *Fleet) error {
		for job, r := range f.Registries {
			all = append(all, registered(t, job, r)...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	text := strings.Join(all, "\n") + "\n"
	if *update {
		if err := os.WriteFile(registeredFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	known, err := os.ReadFile(registeredFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(known)) { // a metric that no dashboard shows may be missing there
		if line = strings.TrimSpace(line); !slices.Contains(all, line) {
			t.Errorf("the dashboards take %q for registered, and it is not; mend them, then: go test ./deploy/dev -run %s -update", line, t.Name())
		}
	}
}

// asked gives the answer of Prometheus' API.
func asked[T any](ctx context.Context, address string) (data T, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return data, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return data, err
	}
	defer res.Body.Close()
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   T      `json:"data"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return data, err
	}
	if answer.Status != "success" {
		return data, errors.New(answer.Error)
	}
	return answer.Data, nil
}

func TestPrometheusWatchesALocalFleet(t *testing.T) {
	t.Parallel()
	needs.Program(t, "prometheus", "apt-get install prometheus")
	o := Options{DataDir: t.TempDir(), Devices: 3, Engine: EngineMemory, Observability: true}
	err := Run(t.Context(), o, func(ctx context.Context, f *Fleet) error {
		if hints := f.observabilityHints(); !strings.Contains(hints, f.Env.PrometheusURL) || !strings.Contains(hints, "fleet-operator, fleet-agent") {
			t.Errorf("it is not said where Prometheus is: %q", hints)
		}
		return until(ctx, time.Minute, func(ctx context.Context) (bool, string, error) {
			targets, err := asked[struct {
				ActiveTargets []struct{ ScrapePool, Health, LastError string }
			}](ctx, f.Env.PrometheusURL+"/api/v1/targets")
			if err != nil {
				return false, "", err
			}
			up := map[string]int{}
			for _, a := range targets.ActiveTargets {
				if a.Health != "up" {
					return false, fmt.Sprintf("a target of %s is %s: %s", a.ScrapePool, a.Health, a.LastError), nil
				}
				up[a.ScrapePool]++
			}
			if up["fleet-operator"] != 1 || up["fleet-agent"] != 3 {
				return false, fmt.Sprintf("it scrapes %v", up), nil // at its start it does not know its targets yet
			}
			rules, err := asked[struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}](ctx, f.Env.PrometheusURL+"/api/v1/rules")
			if err != nil {
				return false, "", err
			}
			for _, g := range rules.Groups {
				for _, r := range g.Rules {
					if r.Health == "err" {
						return false, "", fmt.Errorf("rule %s: %s", r.Name, r.LastError)
					}
				}
			}
			online, err := asked[struct {
				Result []struct{ Value []any }
			}](ctx, f.Env.PrometheusURL+"/api/v1/query?query="+url.QueryEscape("fleet:devices_online:ratio"))
			if err != nil {
				return false, "", err
			}
			if len(online.Result) != 1 || online.Result[0].Value[1] != "1" {
				return false, fmt.Sprintf("the record of devices that are online is %+v", online.Result), nil
			}
			if i := slices.IndexFunc(f.gateServers, func(s operator.PrometheusServer) bool { return s.Name == "main" }); i < 0 || f.gateServers[i].URL != f.Env.PrometheusURL {
				return false, "", fmt.Errorf("gates ask %v, and Prometheus is at %s", f.gateServers, f.Env.PrometheusURL)
			}
			return true, "", nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWithoutPrometheusTheFleetRunsAndSaysSo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out strings.Builder
	o := Options{DataDir: t.TempDir(), Devices: 1, Engine: EngineMemory, Observability: true, Out: &out}
	err := Run(t.Context(), o, func(_ context.Context, f *Fleet) error {
		if f.Env.PrometheusURL != "" || f.observabilityHints() != "" {
			t.Errorf("there is a Prometheus: %s", f.Env.PrometheusURL)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "apt-get install prometheus") {
		t.Errorf("it is not said how to install it:\n%s", &out)
	}
}
