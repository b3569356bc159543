package promtest

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"

	"fleet.nationtech.io/deploy/grafana/promtest/draw"
)

// view is a panel as far as the pictures show it.
type view struct {
	Title   string `json:"title"`
	Targets []struct {
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit     string `json:"unit"`
			NoValue  string `json:"noValue"`
			Mappings []struct {
				Options map[string]struct {
					Text  string `json:"text"`
					Color string `json:"color"`
				} `json:"options"`
			} `json:"mappings"`
			Thresholds struct {
				Steps []struct {
					Value *float64 `json:"value"`
					Color string   `json:"color"`
				} `json:"steps"`
			} `json:"thresholds"`
		} `json:"defaults"`
		Overrides []struct {
			Matcher struct {
				Options string `json:"options"`
			} `json:"matcher"`
			Properties []struct {
				ID    string          `json:"id"`
				Value json.RawMessage `json:"value"`
			} `json:"properties"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
	Options struct {
		TextMode string `json:"textMode"`
	} `json:"options"`
	Transformations []struct {
		Options struct {
			RenameByName map[string]string `json:"renameByName"`
		} `json:"options"`
	} `json:"transformations"`
}

// artist draws panels of a dashboard from what was recorded.
type artist struct {
	t      *testing.T
	r      recording
	panels map[string]view
	from   time.Duration // of the recording: what is before is empty
	lasts  float64
	marks  []draw.Mark
}

func newArtist(t *testing.T, r recording, dashboard string) *artist {
	t.Helper()
	b, err := os.ReadFile("../dashboards/" + dashboard + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []view `json:"panels"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	a := &artist{t: t, r: r, panels: map[string]view{}, from: lead, lasts: (r.lasts - lead).Seconds()}
	for _, p := range d.Panels {
		a.panels[p.Title] = p
	}
	return a
}

func (a *artist) panel(title string) view {
	a.t.Helper()
	p, is := a.panels[title]
	if !is {
		a.t.Fatalf("there is no panel %q", title)
	}
	return p
}

// at gives the series of a query at a moment of the picture.
func (a *artist) at(expr string, moment float64) promql.Vector {
	a.t.Helper()
	q, err := a.r.engine.NewInstantQuery(a.t.Context(), a.r.storage, nil, filled(expr), a.r.moment(a.from).Add(time.Duration(moment*float64(time.Second))))
	if err != nil {
		a.t.Fatal(err)
	}
	defer q.Close()
	v, err := q.Exec(a.t.Context()).Vector()
	if err != nil {
		a.t.Fatal(err)
	}
	return slices.Clone(v)
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

func legend(format string, s interface{ Get(string) string }) string {
	return strings.TrimSpace(legendLabel.ReplaceAllStringFunc(format, func(m string) string { return s.Get(m[2 : len(m)-2]) }))
}

func (v view) colour(name string) string {
	for _, o := range v.FieldConfig.Overrides {
		for _, p := range o.Properties {
			var c struct {
				FixedColor string `json:"fixedColor"`
			}
			if o.Matcher.Options == name && p.ID == "color" && json.Unmarshal(p.Value, &c) == nil {
				return c.FixedColor
			}
		}
	}
	return ""
}

// shown gives a value as its panel shows it, and its colour.
func (v view) shown(value float64) (text, colour string) {
	d := v.FieldConfig.Defaults
	for _, m := range d.Mappings {
		if o, is := m.Options[fmt.Sprint(value)]; is {
			return o.Text, o.Color
		}
	}
	for _, s := range d.Thresholds.Steps {
		if s.Value == nil || value >= *s.Value {
			colour = s.Color
		}
	}
	switch d.Unit {
	case "percentunit":
		return fmt.Sprintf("%.1f%%", value*100), colour
	case "s":
		return (time.Duration(math.Round(value)) * time.Second).String(), colour
	}
	return fmt.Sprintf("%g", value), colour
}

func (a *artist) figure(c *draw.Canvas, b draw.Box, title string, moment float64) {
	p := a.panel(title)
	var texts []string
	colour := "blue"
	for _, q := range p.Targets {
		for _, s := range a.at(q.Expr, moment) {
			name := legend(q.LegendFormat, s.Metric)
			text, of := p.shown(s.F)
			if colour = of; p.Options.TextMode == "name" {
				text = name
			} else if name != "" {
				text = name + " " + text
			}
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		texts = []string{p.FieldConfig.Defaults.NoValue}
	}
	c.Figure(b, title, strings.Join(texts, " "), colour)
}

func (a *artist) chart(c *draw.Canvas, b draw.Box, title string, stacked bool) {
	p := a.panel(title)
	g := draw.Chart{Title: title, Lasts: a.lasts, Stacked: stacked, Percent: p.FieldConfig.Defaults.Unit == "percentunit", Marks: a.marks}
	for _, q := range p.Targets {
		for _, s := range a.r.over(a.t, filled(q.Expr)) {
			name := legend(q.LegendFormat, s.Metric)
			line := draw.Series{Name: name, Colour: p.colour(name)}
			for _, f := range s.Floats {
				if at := float64(f.T)/1000 - a.from.Seconds(); at >= 0 && !math.IsNaN(f.F) {
					line.Points = append(line.Points, draw.Point{At: at, Value: f.F})
				}
			}
			g.Series = append(g.Series, line)
		}
	}
	c.Chart(b, g)
}

func (a *artist) timeline(c *draw.Canvas, b draw.Box, title string) {
	p := a.panel(title)
	var lanes []draw.Lane
	for _, q := range p.Targets {
		for _, s := range a.r.over(a.t, filled(q.Expr)) {
			lane := draw.Lane{Name: legend(q.LegendFormat, s.Metric)}
			for _, f := range s.Floats {
				at := float64(f.T)/1000 - a.from.Seconds()
				name, colour := p.shown(f.F)
				if n := len(lane.States); n > 0 {
					lane.States[n-1].To = at
					if lane.States[n-1].Name == name {
						continue
					}
				}
				lane.States = append(lane.States, draw.State{From: at, To: at, Name: name, Colour: colour})
			}
			lanes = append(lanes, lane)
		}
	}
	c.Timeline(b, title, a.lasts, lanes)
}

// table draws the table of rollouts at a moment.
func (a *artist) table(c *draw.Canvas, b draw.Box, title string, moment float64) {
	p := a.panel(title)
	names := map[string]string{}
	for _, tr := range p.Transformations {
		for k, v := range tr.Options.RenameByName {
			names[k] = v
		}
	}
	head := []draw.Cell{{Text: "Namespace"}, {Text: "Deployment"}}
	rows := map[string][]draw.Cell{}
	order := map[string]float64{}
	for i, q := range p.Targets {
		name := names["Value #"+string(rune('A'+i))]
		head = append(head, draw.Cell{Text: name})
		for _, s := range a.at(q.Expr, moment) {
			key := s.Metric.Get("deployment_name")
			if i == 0 {
				rows[key] = []draw.Cell{{Text: s.Metric.Get("deployment_namespace")}, {Text: key}}
				order[key] = -s.F
			}
			for len(rows[key]) < len(head)-1 {
				rows[key] = append(rows[key], draw.Cell{})
			}
			cell := p.cell(name, s.F)
			rows[key] = append(rows[key], cell)
		}
	}
	keys := make([]string, 0, len(rows))
	for k := range rows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y string) int {
		if order[x] != order[y] {
			return int(order[x] - order[y])
		}
		return strings.Compare(x, y)
	})
	all := [][]draw.Cell{head}
	for _, k := range keys {
		for len(rows[k]) < len(head) {
			rows[k] = append(rows[k], draw.Cell{})
		}
		all = append(all, rows[k])
	}
	c.Table(b, title, all)
}

// cell gives a value of a column as the column's overrides show it.
func (v view) cell(column string, value float64) draw.Cell {
	shown := v
	for _, o := range v.FieldConfig.Overrides {
		if o.Matcher.Options != column {
			continue
		}
		for _, p := range o.Properties {
			var err error
			switch p.ID {
			case "mappings":
				err = json.Unmarshal(p.Value, &shown.FieldConfig.Defaults.Mappings)
			case "unit":
				err = json.Unmarshal(p.Value, &shown.FieldConfig.Defaults.Unit)
			}
			if err != nil {
				return draw.Cell{Text: err.Error()}
			}
		}
	}
	text, colour := shown.shown(value)
	if len(shown.FieldConfig.Defaults.Mappings) == 0 || text == "" {
		colour = ""
	}
	return draw.Cell{Text: text, Colour: colour}
}

// since gives the first moment of a picture at which a query has an answer.
func (a *artist) since(expr string) float64 {
	a.t.Helper()
	m := a.r.over(a.t, expr)
	if len(m) == 0 {
		a.t.Fatalf("never: %s", expr)
	}
	return float64(m[0].Floats[0].T)/1000 - a.from.Seconds()
}
