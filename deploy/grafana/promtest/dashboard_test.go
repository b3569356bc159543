package promtest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asked is a query of a dashboard.
type asked struct {
	where    string // the dashboard and the panel
	expr     string
	overTime bool // over time, and not at one moment alone
}

// target is what a panel asks.
type target struct {
	Expr       string `json:"expr"`
	Instant    bool   `json:"instant"`
	Datasource struct {
		Type string `json:"type"`
	} `json:"datasource"`
}

// queries gives all that the dashboards ask Prometheus.
func queries(t *testing.T) []asked {
	t.Helper()
	files, err := filepath.Glob("../dashboards/*.json")
	if err != nil || len(files) != 4 {
		t.Fatalf("dashboards %v: %v", files, err)
	}
	var all []asked
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Title  string `json:"title"`
			Panels []struct {
				Title   string   `json:"title"`
				Targets []target `json:"targets"`
			} `json:"panels"`
			Annotations struct {
				List []struct {
					Name       string `json:"name"`
					Expr       string `json:"expr"`
					Datasource struct {
						Type string `json:"type"`
					} `json:"datasource"`
				} `json:"list"`
			} `json:"annotations"`
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for i, q := range p.Targets {
				if q.Datasource.Type == "prometheus" {
					all = append(all, asked{fmt.Sprintf("%s: %s: %c", d.Title, p.Title, 'A'+i), q.Expr, !q.Instant})
				}
			}
		}
		for _, a := range d.Annotations.List {
			if a.Datasource.Type == "prometheus" {
				all = append(all, asked{d.Title + ": annotation " + a.Name, a.Expr, true})
			}
		}
	}
	return all
}

// filled puts in what Grafana would for the variables.
func filled(expr string) string {
	return strings.NewReplacer(
		"$__rate_interval", "30s", "$__range", "10m", "$__interval", "10s",
		"$namespace", "default", "$deployment", "web", "$instance", "edge-01",
	).Replace(expr)
}
