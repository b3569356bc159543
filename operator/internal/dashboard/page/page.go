// Package page writes the dashboard's pages: HTML of the models, and the assets that they
// load. It knows no log and no request.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/timeline"
	"fleet.nationtech.io/projections/viewdiff"
)

//go:embed templates/*.html
var templates embed.FS

// Assets are the files that pages load, by their names.
//
//go:embed assets/dashboard.css assets/dashboard.js
var Assets embed.FS

// Names of the pages.
const (
	Overview    = "overview"
	Deployments = "deployments"
	Deployment  = "deployment"
	Rollout     = "rollout"
	Devices     = "devices"
	Device      = "device"
	Changes     = "changes"
	Events      = "events"
	Event       = "event"
	Failure     = "failure"
	Action      = "action"
	Request     = "request"
	Ping        = "ping"
)

// Axis is the parameter that says on which axis of time a moment is, and its values. Both is
// for two moments: the first as the log knew it, and the second as it happened.
const (
	Axis     = "as"
	Known    = "known"
	Happened = "happened"
	Both     = "both"
)

// Page is what a page is made of.
type Page struct {
	Name  string // one of the constants
	Title string
	Path  string     // of the page, escaped
	Query url.Values // that it was asked with
	Asset string     // distinguishes the assets of this program from another's

	Moment model.Moment
	Last   uint64 // the log's end
	// Before, Current and After are the events around the moment that changed what is shown;
	// 0: there is none.
	Before, Current, After uint64
	// Differs is in how many things the fleet as it happened differs from what the log knew.
	Differs int
	// Handles are the two ends of a comparison.
	Handles []Handle
	// Stream is where a page of now hears of changes; empty: nowhere.
	Stream string
	// Acts is what the person who looks may do here.
	Acts Acts

	Model any
}

// Handle is one end of a comparison.
type Handle struct {
	Name   string // of its parameter
	Moment model.Moment
	// Before and After are the events around it that changed what the comparison is about; 0:
	// there is none.
	Before, After uint64
}

// Failed is the model of a page that says why there is no other.
type Failed struct {
	Code  int
	Text  string
	Links []Link // where one can go on
}

// Link is where one can go on.
type Link struct{ Text, Address string }

// Pages writes pages.
type Pages struct{ byName map[string]*template.Template }

// New reads the templates. It fails where this program was built with a template that cannot
// be read.
func New() (*Pages, error) {
	p := &Pages{byName: map[string]*template.Template{}}
	base, err := template.New("").Funcs(functions()).Funcs(actionFunctions()).ParseFS(templates, "templates/layout.html", "templates/parts.html", "templates/eventparts.html")
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	for _, name := range []string{Overview, Deployments, Deployment, Rollout, Devices, Device, Changes, Events, Event, Failure, Action, Request, Ping} {
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(templates, "templates/"+name+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("dashboard: %w", err)
		}
		p.byName[name] = t
	}
	return p, nil
}

// Render gives a page, but for its end.
func (p *Pages) Render(page Page) ([]byte, error) {
	var b bytes.Buffer
	if err := p.byName[page.Name].ExecuteTemplate(&b, "layout", page); err != nil {
		return nil, err
	}
	return inOrder(b.Bytes()), nil
}

// Kept are the parameters that a form keeps while it sets other ones.
func (p Page) Kept(but ...string) map[string]string {
	out := map[string]string{}
	for k := range p.Query {
		out[k] = p.Query.Get(k)
	}
	for _, k := range append(but, "page", "before", "after") {
		delete(out, k)
	}
	return out
}

// Ago is how long a moment was before that of the page.
func (p Page) Ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return timeline.SpanText(max(0, p.Moment.Clock.Sub(t).Seconds()))
}

// OnTop says whether a handle is above the other where the two are at one place: the one that
// can be moved to its side.
func (p Page) OnTop(h Handle) bool {
	return h.Name == "from" && h.Moment.Sequence > p.Last/2
}

// Is says whether a parameter has a value.
func (p Page) Is(name, value string) bool { return p.Query.Get(name) == value }

func functions() template.FuncMap {
	return template.FuncMap{
		"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"short": func(hash string) string {
			hash = strings.TrimPrefix(hash, "sha256:")
			return hash[:min(12, len(hash))]
		},
		"value": func(f viewdiff.Field, after bool) string {
			v := f.Before
			if after {
				v = f.After
			}
			if v == nil {
				return ""
			}
			return viewdiff.ValueText(v)
		},
		"sign":     sign,
		"tone":     toneHue,
		"hue":      hue,
		"weight":   weight,
		"minus64":  func(n uint64) uint64 { return n - 1 },
		"plus64":   func(n uint64) uint64 { return n + 1 },
		"minus":    func(a, b int) int { return a - b },
		"plus":     func(a, b int) int { return a + b },
		"labels":   labelsText,
		"list":     func(words ...string) []string { return words },
		"worst":    worstFirst,
		"tally":    tally,
		"noun":     rollout.Verb, // the form that fits a number
		"cell":     cellClass,
		"choice":   choice,
		"seconds":  timeline.SpanText,
		"span":     func(d time.Duration) string { return timeline.SpanText(d.Seconds()) },
		"indent":   func(depth int) string { return strings.Repeat("↳ ", max(0, min(depth, 9)-1)) },
		"duration": func(d eventlog.Duration) string { return time.Duration(d).String() },
		"rows":     func(p Page, rows any) map[string]any { return map[string]any{"P": p, "Rows": rows} },
		"pages":    func(p Page, page model.Page) map[string]any { return map[string]any{"P": p, "Page": page} },
	}
}
