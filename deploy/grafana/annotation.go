package grafana

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// marks are a rollout's events on the graphs. Prometheus has them without any plugin:
// the gauges say when a phase and a batch began, so a mark is at the moment of the
// event and not at that of a scrape.
func marks(where string) []cog.Builder[dashboard.AnnotationQuery] {
	const of = "deployment_namespace, deployment_name"
	phase := "1000 * max by (" + of + ") (fleet_rollout_phase_start_timestamp_seconds" + where + ")\n" +
		"* on (" + of + ") group_right () (max by (" + of + ", phase) (fleet_rollout_phase" + where + ") == 1)"
	batch := "1000 * max by (" + of + ") (fleet_rollout_batch_start_timestamp_seconds" + where + ")\n" +
		"* on (" + of + ") group_right () (count_values by (" + of + ") (\"batch\", max by (" + of + ") (fleet_rollout_batch" + where + ") > 0) > 0)"
	all := []cog.Builder[dashboard.AnnotationQuery]{
		mark("Phases", purple, phase, "{{deployment_namespace}}/{{deployment_name}}: {{phase}}", "phase"),
		mark("Batches", blue, batch, "{{deployment_namespace}}/{{deployment_name}}: batch {{batch}}", "batch"),
	}
	if where == "" {
		return all
	}
	return append(all, dashboard.NewAnnotationQueryBuilder().Name("Events of the log").Datasource(eventSource()).Enable(false).
		IconColor(orange).Target(events("namespace=${namespace}&deployment=${deployment}&type=rollout.")).
		Mappings(map[string]cog.Builder[dashboard.AnnotationEventFieldMapping]{
			"time": field("Time"), "title": field("Event"), "text": field("Message"), "tags": field("Reason"),
		}))
}

// field takes a part of a mark from a column of the events.
func field(column string) cog.Builder[dashboard.AnnotationEventFieldMapping] {
	return dashboard.NewAnnotationEventFieldMappingBuilder().Source("field").Value(column)
}

func mark(name, colour, expr, title, tags string) *dashboard.AnnotationQueryBuilder {
	return dashboard.NewAnnotationQueryBuilder().Name(name).Datasource(promSource()).Enable(true).IconColor(colour).
		Expr(expr).Step("15s").TitleFormat(title).TagKeys(tags).UseValueForTime(true)
}
