package provision

import "fleet.nationtech.io/deploy/grafana"

// folder is where the dashboards are in Grafana.
const folder = "Harmony Fleet"

// Ids of the data sources that a plain Grafana is given.
const (
	uidPrometheus = "fleet-prometheus"
	uidEvents     = "fleet-events"
)

// providers is Grafana's file of dashboard providers.
type providers struct {
	APIVersion int        `json:"apiVersion"`
	Providers  []provider `json:"providers"`
}

type provider struct {
	Name            string            `json:"name"`
	Folder          string            `json:"folder"`
	FolderUID       string            `json:"folderUid"`
	Type            string            `json:"type"`
	DisableDeletion bool              `json:"disableDeletion"`
	AllowUIUpdates  bool              `json:"allowUiUpdates"`
	Options         map[string]string `json:"options"`
}

func dashboardProviders() providers {
	return providers{APIVersion: 1, Providers: []provider{{
		Name: "harmony-fleet", Folder: folder, FolderUID: "harmony-fleet", Type: "file",
		Options: map[string]string{"path": "/var/lib/grafana/dashboards/fleet"},
	}}}
}

// sources is Grafana's file of data sources.
type sources struct {
	APIVersion  int      `json:"apiVersion"`
	Datasources []source `json:"datasources"`
}

type source struct {
	Name      string         `json:"name"`
	UID       string         `json:"uid"`
	Type      string         `json:"type"`
	Access    string         `json:"access"`
	URL       string         `json:"url"`
	IsDefault bool           `json:"isDefault"`
	Editable  bool           `json:"editable"`
	JSONData  map[string]any `json:"jsonData"`
}

// datasources are Prometheus and, for events, the operator through the plugin
// Infinity. Grafana puts the addresses in from its environment.
func datasources() sources {
	return sources{APIVersion: 1, Datasources: []source{
		{
			Name: "Fleet Prometheus", UID: uidPrometheus, Type: grafana.TypePrometheus, Access: "proxy",
			URL: "$FLEET_PROMETHEUS_URL", IsDefault: true, JSONData: map[string]any{"httpMethod": "POST", "timeInterval": "15s"},
		},
		{
			Name: "Fleet events", UID: uidEvents, Type: grafana.TypeInfinity, Access: "proxy",
			URL: "$FLEET_OPERATOR_URL", JSONData: map[string]any{"timeoutInSeconds": 30},
		},
	}}
}
