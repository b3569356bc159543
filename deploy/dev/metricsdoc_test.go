package dev

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	metrics "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"fleet.nationtech.io/eventlog/processmetrics"
)

// metricsFile is the reference of metrics. Its tables stand between two marks.
const (
	metricsFile = "../../docs/metrics.md"
	tablesBegin = "<!-- tables: written by the test in deploy/dev with -update -->\n"
	tablesEnd   = "<!-- end of the tables -->\n"
)

// described is how client_golang writes a metric's description, with its help.
var described = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: ("(?:[^"\\]|\\.)*"), .*constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)

// metricTable lists the fleet's own metrics of a registry.
func metricTable(r *metrics.Registry) (string, error) {
	families, err := r.Gather()
	if err != nil {
		return "", err
	}
	kinds := map[string]dto.MetricType{}
	for _, f := range families {
		kinds[f.GetName()] = f.GetType()
	}
	descs := make(chan *metrics.Desc)
	go func() {
		defer close(descs)
		r.Describe(descs)
	}()
	rows := map[string]string{}
	var unread error
	for d := range descs {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			unread = fmt.Errorf("%s is written otherwise than this test knows", d)
			continue
		}
		if !strings.HasPrefix(m[1], "fleet_") {
			continue
		}
		help, err := strconv.Unquote(m[2])
		if err != nil {
			unread = fmt.Errorf("%s: %w", d, err)
		}
		labels := strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ' ' })
		for i, l := range labels {
			labels[i] = "`" + l + "`"
		}
		rows[m[1]] = fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", m[1], kindOf(m[1], kinds), unitOf(m[1], help), strings.Join(labels, ", "), strings.ReplaceAll(help, "|", `\|`))
	}
	table := "| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		table += rows[name]
	}
	return table, unread
}

// kindOf gives the type of a metric. One without a value yet is known by its name.
func kindOf(name string, kinds map[string]dto.MetricType) string {
	kind, known := kinds[name]
	switch {
	case known:
		return strings.ToLower(kind.String())
	case strings.HasSuffix(name, "_total"):
		return "counter"
	case strings.HasSuffix(name, "_seconds") && !strings.HasSuffix(name, "_timestamp_seconds") && !strings.HasSuffix(name, "_lag_seconds"):
		return "histogram"
	}
	return "gauge"
}

// ofProcess expects the metrics of Go, of the process and of the build.
func ofProcess(t *testing.T, component string, r *metrics.Registry) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Error(err)
		return
	}
	missing := map[string]bool{"go_goroutines": true, "process_resident_memory_bytes": true, processmetrics.BuildInfo: true}
	for _, f := range families {
		delete(missing, f.GetName())
		if f.GetName() == processmetrics.BuildInfo && !strings.Contains(f.String(), `value:"`+component+`"`) {
			t.Errorf("the build of %s is told as %s", component, f)
		}
	}
	for name := range missing {
		t.Errorf("%s does not have %s", component, name)
	}
}

// docs/metrics.md has each metric of the operator, the callout and the agent, with its
// type, its labels and its help.
func TestTheReferenceOfMetricsSaysWhatTheBinariesRegister(t *testing.T) {
	t.Parallel()
	tables := ""
	o := Options{DataDir: t.TempDir(), Devices: 1, Engine: EngineMemory, Auth: AuthOIDC, Observability: true}
	err := Run(t.Context(), o, func(_ context.Context, f *Fleet) error {
		for _, job := range slices.Sorted(maps.Keys(f.Registries)) {
			ofProcess(t, job, f.Registries[job])
			table, err := metricTable(f.Registries[job])
			if err != nil {
				return err
			}
			tables += "\n## " + job + "\n\n" + table
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(metricsFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, begins := strings.Cut(string(whole), tablesBegin)
	said, tail, ends := strings.Cut(rest, tablesEnd)
	if !begins || !ends {
		t.Fatalf("%s lacks the marks around its tables", metricsFile)
	}
	if *update {
		if err := os.WriteFile(metricsFile, []byte(head+tablesBegin+tables+"\n"+tablesEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if strings.TrimSpace(said) != strings.TrimSpace(tables) {
		t.Errorf("%s is not what is registered: go test ./deploy/dev -run %s -update", metricsFile, t.Name())
		want := strings.Split(tables, "\n")
		for _, line := range want {
			if !strings.Contains(said, line) {
				t.Errorf("it lacks %s", line)
			}
		}
		for line := range strings.Lines(said) {
			if !slices.Contains(want, strings.TrimSpace(line)) {
				t.Errorf("it has %s", line)
			}
		}
	}
}
