package grafana

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// Ids of the dashboards. Links name them, so they never change.
const (
	UIDFleet    = "fleet-overview"
	UIDRollouts = "fleet-rollouts"
	UIDDevice   = "fleet-device"
	UIDPlatform = "fleet-platform"
)

// tag is on each dashboard, and by it each links to the others.
const tag = "harmony-fleet"

// Dashboard is one, ready to be written.
type Dashboard struct {
	Name string // of its file
	dashboard.Dashboard
}

// Dashboards gives all, in the order in which a person goes through them.
func Dashboards() ([]Dashboard, error) {
	var all []Dashboard
	for _, d := range []struct {
		name  string
		build func() *dashboard.DashboardBuilder
	}{
		{"fleet", fleetDashboard},
		{"rollouts", rolloutsDashboard},
		{"device", deviceDashboard},
		{"platform", platformDashboard},
	} {
		built, err := d.build().Build()
		if err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", d.name, err)
		}
		number(&built)
		all = append(all, Dashboard{d.name, built})
	}
	return all, nil
}

// JSON gives the dashboard's file: the same bytes each time.
func (d Dashboard) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d.Dashboard); err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", d.Name, err)
	}
	return b.Bytes(), nil
}

// number gives each panel an id, which Grafana needs for links to one panel.
func number(d *dashboard.Dashboard) {
	id := uint32(0)
	for i := range d.Panels {
		id++
		switch p := d.Panels[i]; {
		case p.Panel != nil:
			p.Panel.Id = cog.ToPtr(id)
		case p.RowPanel != nil:
			p.RowPanel.Id = id
		}
	}
}

// frame is what all dashboards share.
func frame(uid, title, description, from, refresh string) *dashboard.DashboardBuilder {
	return dashboard.NewDashboardBuilder(title).Uid(uid).Description(description).Tags([]string{tag}).
		Time(from, "now").Refresh(refresh).Timezone("browser").Editable().
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Harmony Fleet").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{tag}).
			AsDropdown(false).KeepTime(true).IncludeVars(false).TargetBlank(false).Icon("external link").Tooltip("").Url("")).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type(TypePrometheus).
			Description("The Prometheus that scrapes the fleet.").IncludeAll(false).Multi(false)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("events").Label("Events").Type(TypeInfinity).
			Description("The Infinity data source whose URL is the operator's. Without one the tables of events stay empty, and all else works.").
			IncludeAll(false).Multi(false))
}

// choice is a variable whose values are those of a label.
func choice(name, label, description, query string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Description(description).
		Query(dashboard.StringOrMap{String: &query}).Definition(query).Datasource(promSource()).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc).
		IncludeAll(false).Multi(false)
}
