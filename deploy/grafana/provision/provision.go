// Package provision puts dashboards and rules into the files that a plain Grafana, its
// sidecar in Kubernetes, Prometheus and the Prometheus operator read.
package provision

import (
	"bytes"
	"fmt"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/grafana"
	"fleet.nationtech.io/deploy/grafana/rules"
)

// header tells who reads a file what makes it.
const header = "# Made by `make generate` from deploy/grafana. Do not edit.\n"

// Files gives the contents of all files by their paths below deploy/grafana. runbooks
// is the address below which the pages of docs/runbooks are.
func Files(runbooks string) (map[string][]byte, error) {
	dashboards, err := grafana.Dashboards()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	var maps [][]byte
	for _, d := range dashboards {
		b, err := d.JSON()
		if err != nil {
			return nil, err
		}
		files["dashboards/"+d.Name+".json"] = b
		m, err := yaml.Marshal(configMap(d.Name, b))
		if err != nil {
			return nil, fmt.Errorf("dashboard %s as a ConfigMap: %w", d.Name, err)
		}
		maps = append(maps, m)
	}
	files["kubernetes/dashboards.yaml"] = append([]byte(header), bytes.Join(maps, []byte("---\n"))...)
	ruleFile, err := rules.File(runbooks)
	if err != nil {
		return nil, err
	}
	files["prometheus/fleet.rules.yaml"] = append([]byte(header), ruleFile...)
	for path, content := range map[string]any{
		"kubernetes/rules.yaml":               prometheusRule(rules.Groups(runbooks)),
		"provisioning/dashboards/fleet.yaml":  dashboardProviders(),
		"provisioning/datasources/fleet.yaml": datasources(),
	} {
		b, err := yaml.Marshal(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		files[path] = append([]byte(header), b...)
	}
	return files, nil
}

// object is one of Kubernetes.
type object struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadata          `json:"metadata"`
	Data       map[string]string `json:"data,omitempty"`
	Spec       any               `json:"spec,omitempty"`
}

type metadata struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// configMap is what the sidecar of Grafana's Helm chart finds by its label.
func configMap(name string, dashboard []byte) object {
	return object{
		APIVersion: "v1", Kind: "ConfigMap",
		Metadata: metadata{
			Name:        "fleet-dashboard-" + name,
			Labels:      map[string]string{"grafana_dashboard": "1", "app.kubernetes.io/part-of": "harmony-fleet"},
			Annotations: map[string]string{"grafana_folder": folder},
		},
		Data: map[string]string{"fleet-" + name + ".json": string(dashboard)},
	}
}

// prometheusRule is what the Prometheus operator reads.
func prometheusRule(groups []rules.Group) object {
	return object{
		APIVersion: "monitoring.coreos.com/v1", Kind: "PrometheusRule",
		Metadata: metadata{Name: "fleet", Labels: map[string]string{"app.kubernetes.io/part-of": "harmony-fleet"}},
		Spec:     map[string]any{"groups": groups},
	}
}
