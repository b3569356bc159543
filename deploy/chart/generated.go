package chart

import (
	"bytes"
	"fmt"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/grafana"
	"fleet.nationtech.io/deploy/grafana/rules"
)

const header = "# Made by `make generate` from deploy/chart. Do not edit.\n"

// GeneratedFiles are the files of the chart that code makes, by their paths in the chart:
// the NATS servers' configuration, dashboards and rules.
func GeneratedFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, clustered := range []bool{false, true} {
		for _, plain := range []bool{false, true} {
			name := "single"
			if clustered {
				name = "cluster"
			}
			if plain {
				name += "-plain-websocket"
			}
			files["files/nats/"+name+".conf"] = append([]byte(header), NATSServer(clustered, plain).Render()...)
		}
	}
	dashboards, err := grafana.Dashboards()
	if err != nil {
		return nil, fmt.Errorf("dashboards of the chart: %w", err)
	}
	for _, d := range dashboards {
		b, err := d.JSON()
		if err != nil {
			return nil, fmt.Errorf("dashboards of the chart: %w", err)
		}
		files["files/dashboards/"+d.Name+".json"] = append(bytes.TrimSpace(b), '\n')
	}
	b, err := yaml.Marshal(map[string]any{"groups": rules.Groups(rules.DefaultRunbooks)})
	if err != nil {
		return nil, fmt.Errorf("rules of the chart: %w", err)
	}
	files["files/rules.yaml"] = append([]byte(header), b...)
	return files, nil
}
