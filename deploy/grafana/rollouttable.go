package grafana

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// tableColumn is a figure of each Deployment.
type tableColumn struct {
	name, unit string
	expr       string
	more       []dashboard.DynamicConfigValue
}

// perDeployment is the highest of what replicas of the operator say of a Deployment,
// for they all say the same.
func perDeployment(expr string) string {
	return "max by (deployment_namespace, deployment_name) (" + expr + ")"
}

// rolloutTable has a row for each Deployment, those first that need a person.
func rolloutTable(title, where string) *table.PanelBuilder {
	columns := []tableColumn{
		{"Phase", units.Short, phaseNumber(where), []dashboard.DynamicConfigValue{
			{Id: "mappings", Value: phaseMappings()}, {Id: "custom.cellOptions", Value: map[string]any{"type": "color-background"}}, width(120),
		}},
		{"Revision", units.Short, perDeployment("fleet_rollout_revision" + where), nil},
		{"Batch", units.Short, perDeployment("fleet_rollout_batch" + where), nil},
		{"of", units.Short, perDeployment("fleet_rollout_batches" + where), nil},
		{"Healthy", units.PercentUnit, healthyShare(where), []dashboard.DynamicConfigValue{
			{Id: "custom.cellOptions", Value: map[string]any{"type": "gauge", "mode": "basic"}}, {Id: "min", Value: 0}, {Id: "max", Value: 1},
		}},
		{"Failed", units.Short, perDeployment("fleet_rollout_devices" + with(where, `standing="failed"`)), redAbove0()},
		{"Offline", units.Short, perDeployment("fleet_rollout_devices" + with(where, `standing="offline"`)), nil},
		{"Unavailable", units.Short, perDeployment("fleet_rollout_unavailable_devices" + where), nil},
		{"may be", units.Short, perDeployment("fleet_rollout_max_unavailable_devices" + where), nil},
		{"Held", units.Short, perDeployment("fleet_rollout_held" + where), []dashboard.DynamicConfigValue{{Id: "mappings", Value: yesNo("held", yellow, "", grey)}}},
		{"In this phase for", units.Seconds, "time() - " + perDeployment("fleet_rollout_phase_start_timestamp_seconds"+where), nil},
	}
	queries := make([]query, len(columns))
	for i, c := range columns {
		queries[i] = row(c.expr)
	}
	names := map[string]string{"deployment_namespace": "Namespace", "deployment_name": "Deployment"}
	p := grid(title, "A row for each Deployment. Paused rollouts come first: nothing happens there without a person. A click on a name opens its rollouts.", queries...).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		SortBy([]cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName("Phase").Desc(true)}).
		OverrideByName("Deployment", []dashboard.DynamicConfigValue{link("The rollouts of this Deployment",
			"/d/"+UIDRollouts+"?var-namespace=${__data.fields.Namespace}&var-deployment=${__data.fields.Deployment}&${__url_time_range}")})
	for i, c := range columns {
		names["Value #"+string(rune('A'+i))] = c.name
		p = p.OverrideByName(c.name, append([]dashboard.DynamicConfigValue{{Id: "unit", Value: c.unit}}, c.more...))
	}
	return p.WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
		"excludeByName": map[string]any{"Time": true}, "renameByName": names, "indexByName": map[string]any{},
	}})
}

func redAbove0() []dashboard.DynamicConfigValue {
	return []dashboard.DynamicConfigValue{
		{Id: "custom.cellOptions", Value: map[string]any{"type": "color-text"}},
		{Id: "thresholds", Value: map[string]any{"mode": "absolute", "steps": []map[string]any{{"color": "text", "value": nil}, {"color": red, "value": 1}}}},
	}
}

// healthyShare is the share of a Deployment's matching devices that run its target well.
func healthyShare(where string) string {
	return perDeployment("fleet_rollout_devices"+with(where, `standing="healthy"`)) +
		"\n/ (sum by (deployment_namespace, deployment_name) (max by (deployment_namespace, deployment_name, standing) (fleet_rollout_devices" + where + ")) > 0)"
}
