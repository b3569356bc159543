package grafana

import (
	"reflect"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// Types of the data sources, as Grafana names their plugins.
const (
	TypePrometheus = "prometheus"
	TypeInfinity   = "yesoreyeram-infinity-datasource"
)

// query is a question of a panel. It gets its letter from the panel that asks it.
type query interface {
	as(refID string) cog.Builder[variants.Dataquery]
}

// promQL is a query to Prometheus.
type promQL struct {
	expr   string
	legend string
	form   form
}

// form is what a query is asked for.
type form int

const (
	overTime form = iota // a series of values
	now                  // the value at the end of the time range
	rows                 // the values at the end of the time range, as rows of a table
	buckets              // a series of values of a histogram's buckets
)

func (q promQL) as(refID string) cog.Builder[variants.Dataquery] {
	b := prometheus.NewDataqueryBuilder().RefId(refID).Expr(q.expr).LegendFormat(q.legend).
		EditorMode(prometheus.QueryEditorModeCode).Datasource(promSource())
	switch q.form {
	case overTime:
		return b.Range()
	case buckets:
		return b.Range().Format(prometheus.PromQueryFormatHeatmap)
	case rows:
		return b.Instant().Format(prometheus.PromQueryFormatTable)
	default:
		return b.Instant()
	}
}

// series asks for values over time, value for that at the end of the time range,
// row for the same as rows of a table.
func series(expr, legend string) query { return promQL{expr, legend, overTime} }
func value(expr, legend string) query  { return promQL{expr, legend, now} }
func row(expr string) query            { return promQL{expr, "", rows} }

// promSource and eventSource are the data sources that a person chose above the dashboard.
func promSource() common.DataSourceRef  { return source(TypePrometheus, "${datasource}") }
func eventSource() common.DataSourceRef { return source(TypeInfinity, "${events}") }

func source(kind, uid string) common.DataSourceRef {
	return common.DataSourceRef{Type: &kind, Uid: &uid}
}

// infinity is a query of the Infinity data source, of which Grafana's SDK has no type.
// Its fields are those of the plugin's own queries.
type infinity struct {
	RefID      string                `json:"refId"`
	Datasource common.DataSourceRef  `json:"datasource"`
	Type       string                `json:"type"`
	Parser     string                `json:"parser"`
	Source     string                `json:"source"`
	Format     string                `json:"format"`
	URL        string                `json:"url"`
	URLOptions map[string]string     `json:"url_options"`
	Root       string                `json:"root_selector"`
	Columns    []infinityColumn      `json:"columns"`
	Filters    []map[string]struct{} `json:"filters"`
}

// infinityColumn takes a member of each event.
type infinityColumn struct {
	Selector string `json:"selector"`
	Text     string `json:"text"`
	Type     string `json:"type"`
}

var _ variants.Dataquery = infinity{}

// ImplementsDataqueryVariant implements variants.Dataquery.
func (infinity) ImplementsDataqueryVariant() {}

// DataqueryType implements variants.Dataquery.
func (infinity) DataqueryType() string { return TypeInfinity }

// Validate implements variants.Dataquery.
func (infinity) Validate() error { return nil }

// Equals implements variants.Dataquery.
func (q infinity) Equals(other variants.Dataquery) bool { return reflect.DeepEqual(q, other) }

// Build implements cog.Builder.
func (q infinity) Build() (variants.Dataquery, error) { return q, nil }

func (q infinity) as(refID string) cog.Builder[variants.Dataquery] {
	q.RefID = refID
	return q
}

// events asks the operator for events of the log in the time range. filter is the
// query of the URL that chooses them, without what says the time.
func events(filter string) infinity {
	return infinity{
		RefID: "A", Datasource: eventSource(), Type: "json", Parser: "backend", Source: "url", Format: "table",
		URL:        "/api/v1/events?" + filter + "&since=${__from}&until=${__to}&limit=200",
		URLOptions: map[string]string{"method": "GET"},
		Root:       "events",
		Filters:    []map[string]struct{}{},
		Columns: []infinityColumn{
			{"time", "Time", "timestamp"},
			{"type", "Event", "string"},
			{"namespace", "Namespace", "string"},
			{"deployment", "Deployment", "string"},
			{"device", "Device", "string"},
			{"reason", "Reason", "string"},
			{"message", "Message", "string"},
			{"revision", "Revision", "number"},
			{"batch", "Batch", "number"},
			{"actor", "By", "string"},
			{"sequence", "Sequence", "number"},
		},
	}
}
