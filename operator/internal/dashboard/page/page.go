// Package page writes the dashboard's pages: HTML of the models, and the assets that they
// load. It knows no log and no request.
package page

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
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
	Failure     = "failure"
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
	// Stream is where a page of now hears of changes; empty: nowhere.
	Stream string

	Model any
}

// Failed is the model of a page that says why there is no other.
type Failed struct {
	Code int
	Text string
}

// Pages writes pages.
type Pages struct{ byName map[string]*template.Template }

// New reads the templates. It fails where this program was built with a template that cannot
// be read.
func New() (*Pages, error) {
	p := &Pages{byName: map[string]*template.Template{}}
	base, err := template.New("").Funcs(functions()).ParseFS(templates, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	for _, name := range []string{Overview, Deployments, Deployment, Rollout, Devices, Device, Changes, Failure} {
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

// Write writes a page.
func (p *Pages) Write(w io.Writer, page Page) error {
	return p.byName[page.Name].ExecuteTemplate(w, "layout", page)
}

// To is the address of another page at the same moment. Its parts are escaped.
func (p Page) To(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		b.WriteString("/" + url.PathEscape(part))
	}
	if at := p.Query.Get("at"); at != "" {
		b.WriteString("?at=" + url.QueryEscape(at))
	}
	if b.Len() == 0 {
		return "/"
	}
	if strings.HasPrefix(b.String(), "?") {
		return "/" + b.String()
	}
	return b.String()
}

// ToDevices is the address of the list of devices that have a Deployment, in a state.
func (p Page) ToDevices(deployment, state string) string {
	return p.list("/devices", map[string]string{"deployment": deployment, "state": state})
}

// ToDeployments is the address of the list of Deployments in a state.
func (p Page) ToDeployments(state string) string {
	return p.list("/deployments", map[string]string{"state": state})
}

// list is the address of a list at the same moment.
func (p Page) list(path string, filter map[string]string) string {
	q := url.Values{}
	filter["at"] = p.Query.Get("at")
	for k, v := range filter {
		if v != "" {
			q.Set(k, v)
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// At is the address of this page at a sequence; 0: now.
func (p Page) At(sequence uint64) string {
	if sequence == 0 {
		return p.With("at", "")
	}
	return p.With("at", strconv.FormatUint(sequence, 10))
}

// With is the address of this page with another value of a parameter; empty: without it.
func (p Page) With(name, value string) string {
	q := url.Values{}
	for k, v := range p.Query {
		stays := k != "page" || name == "at" // another filter begins with the first part of a list
		if k != name && stays {
			q[k] = v
		}
	}
	if value != "" {
		q.Set(name, value)
	}
	if len(q) == 0 {
		return p.Path
	}
	return p.Path + "?" + q.Encode()
}

// Kept are the parameters that a form keeps which sets others.
func (p Page) Kept(but ...string) map[string]string {
	out := map[string]string{}
	for k := range p.Query {
		out[k] = p.Query.Get(k)
	}
	delete(out, "page")
	for _, k := range but {
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
		"hue":      hue,
		"weight":   weight,
		"minus":    func(a, b int) int { return a - b },
		"plus":     func(a, b int) int { return a + b },
		"labels":   labelsText,
		"list":     func(words ...string) []string { return words },
		"worst":    worstFirst,
		"tally":    tally,
		"cell":     cellClass,
		"choice":   choice,
		"duration": func(d eventlog.Duration) string { return time.Duration(d).String() },
		"rows":     func(p Page, rows any) map[string]any { return map[string]any{"P": p, "Rows": rows} },
		"pages":    func(p Page, page model.Page) map[string]any { return map[string]any{"P": p, "Page": page} },
	}
}
