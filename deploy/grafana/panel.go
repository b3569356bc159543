package grafana

import (
	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// Heights of panels, in Grafana's grid units.
const (
	low  = 4
	high = 8
	tall = 10
)

// asks gives a panel its queries, with the letters A, B, C and so on.
func asks[B interface {
	WithTarget(cog.Builder[variants.Dataquery]) B
}](panel B, queries []query) B {
	for i, q := range queries {
		panel = panel.WithTarget(q.as(string(rune('A' + i))))
	}
	return panel
}

// figure is one number, or one for each series: the value at the end of the range.
func figure(title, description, unit string, queries ...query) *stat.PanelBuilder {
	p := stat.NewPanelBuilder().Title(title).Description(description).Unit(unit).Datasource(promSource()).
		Height(low).Span(4).ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeNone).
		Orientation(common.VizOrientationAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Thresholds(steps(green)).NoValue("none")
	return asks(p, queries)
}

// graph is lines over time.
func graph(title, description, unit string, queries ...query) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().Title(title).Description(description).Unit(unit).Datasource(promSource()).
		Height(high).Span(12).Min(0).FillOpacity(10).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	return asks(p, queries)
}

// stacked is areas over time, one upon the other.
func stacked(title, description, unit string, queries ...query) *timeseries.PanelBuilder {
	return graph(title, description, unit, queries...).FillOpacity(60).LineWidth(1).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
}

// timeline is what something was, over time.
func timeline(title, description string, mappings []dashboard.ValueMapping, queries ...query) *statetimeline.PanelBuilder {
	p := statetimeline.NewPanelBuilder().Title(title).Description(description).Unit(units.Short).Datasource(promSource()).
		Height(high).Span(12).Mappings(mappings).ShowValue(common.VisibilityModeAuto).MergeValues(true).RowHeight(0.9).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeSingle).Sort(common.SortOrderNone))
	return asks(p, queries)
}

// bars are one bar for each series: the value at the end of the range.
func bars(title, description, unit string, queries ...query) *bargauge.PanelBuilder {
	p := bargauge.NewPanelBuilder().Title(title).Description(description).Unit(unit).Datasource(promSource()).
		Height(high).Span(12).Min(0).Orientation(common.VizOrientationHorizontal).DisplayMode(common.BarGaugeDisplayModeGradient).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).NoValue("none")
	return asks(p, queries)
}

// spread is a heat map of a histogram's buckets: how many took how long, over time.
func spread(title, description, expr string) *heatmap.PanelBuilder {
	p := heatmap.NewPanelBuilder().Title(title).Description(description).Unit(units.Short).Datasource(promSource()).
		Height(high).Span(12).YAxis(heatmap.NewYAxisConfigBuilder().Unit(units.Seconds)).
		Tooltip(heatmap.NewHeatmapTooltipBuilder().Mode(common.TooltipDisplayModeSingle))
	return asks(p, []query{promQL{expr, "{{le}}", buckets}})
}

// grid is a table.
func grid(title, description string, queries ...query) *table.PanelBuilder {
	p := table.NewPanelBuilder().Title(title).Description(description).Unit(units.Short).Datasource(promSource()).
		Height(tall).Span(24).NoValue("none").Filterable(true).
		Footer(common.NewTableFooterOptionsBuilder().Show(false).Reducer([]string{}))
	return asks(p, queries)
}

// eventGrid is a table of events from the operator.
func eventGrid(title, description, filter string) *table.PanelBuilder {
	const deployment = "/d/" + UIDRollouts + "?var-namespace=${__data.fields.Namespace}&var-deployment=${__data.fields.Deployment}&${__url_time_range}"
	const device = "/d/" + UIDDevice + "?var-device=${__data.fields.Device}&${__url_time_range}"
	return grid(title, description, events(filter)).Datasource(eventSource()).
		OverrideByName("Deployment", []dashboard.DynamicConfigValue{link("The rollouts of this Deployment", deployment)}).
		OverrideByName("Device", []dashboard.DynamicConfigValue{link("This device", device)}).
		OverrideByName("Message", []dashboard.DynamicConfigValue{width(480)}).
		OverrideByName("Time", []dashboard.DynamicConfigValue{width(170)})
}

func link(title, url string) dashboard.DynamicConfigValue {
	return dashboard.DynamicConfigValue{Id: "links", Value: []map[string]any{{"title": title, "url": url}}}
}

func width(pixels int) dashboard.DynamicConfigValue {
	return dashboard.DynamicConfigValue{Id: "custom.width", Value: pixels}
}

func colour(c string) []dashboard.DynamicConfigValue {
	return []dashboard.DynamicConfigValue{{Id: "color", Value: map[string]any{"mode": "fixed", "fixedColor": c}}}
}

// step is a colour from a value on.
type step struct {
	from   float64
	colour string
}

// steps are the colours of values: base, and each other one from its value on.
func steps(base string, more ...step) cog.Builder[dashboard.ThresholdsConfig] {
	all := []dashboard.Threshold{{Color: base}}
	for _, s := range more {
		all = append(all, dashboard.Threshold{Value: cog.ToPtr(s.from), Color: s.colour})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(all)
}

// badAbove is green up to a value, and red from it on.
func badAbove(from float64) cog.Builder[dashboard.ThresholdsConfig] {
	return steps(green, step{from, red})
}
