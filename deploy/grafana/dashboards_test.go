package grafana

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// files gives each dashboard's JSON by its name.
func files(t *testing.T) map[string][]byte {
	t.Helper()
	all, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string][]byte{}
	for _, d := range all {
		b, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		byName[d.Name] = b
	}
	return byName
}

// The SDK's types are Grafana's schema: a member that they do not know is a mistake.
func TestEachDashboardIsOfGrafanasSchema(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	cog.NewRuntime().RegisterDataqueryVariant(variants.DataqueryConfig{
		Identifier:           TypeInfinity,
		DataqueryUnmarshaler: readInfinity, StrictDataqueryUnmarshaler: readInfinity,
	})
	for name, raw := range files(t) {
		var d dashboard.Dashboard
		if err := d.UnmarshalJSONStrict(raw); wrong(err) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := d.Validate(); wrong(err) {
			t.Errorf("%s: %v", name, err)
		}
		misspelt := bytes.Replace(raw, []byte(`"gridPos"`), []byte(`"gridPosition"`), 1)
		if !wrong(new(dashboard.Dashboard).UnmarshalJSONStrict(misspelt)) {
			t.Errorf("%s: a misspelt member of a panel is not noticed", name)
		}
		var lax dashboard.Dashboard // the strict way of reading gives mistakes, and no panels
		if err := json.Unmarshal(raw, &lax); err != nil {
			t.Fatal(err)
		}
		again, err := Dashboard{Name: name, Dashboard: lax}.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(canonical(t, raw), canonical(t, again)) {
			t.Errorf("%s: what Grafana's types read is not what was written", name)
		}
	}
}

func readInfinity(raw []byte) (variants.Dataquery, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var q infinity
	err := d.Decode(&q)
	return q, err
}

// wrong says whether the SDK found anything: it may give an empty list of mistakes.
func wrong(err error) bool {
	var mistakes cog.BuildErrors
	return err != nil && (!errors.As(err, &mistakes) || len(mistakes) > 0)
}

func canonical(t *testing.T, raw []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDashboardsAreTheSameBytesEachTime(t *testing.T) {
	first, second := files(t), files(t)
	for name := range first {
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s differs from itself", name)
		}
	}
}

// panels gives those of a dashboard that show something.
func panels(d Dashboard) []*dashboard.Panel {
	var all []*dashboard.Panel
	for _, p := range d.Panels {
		if p.Panel != nil {
			all = append(all, p.Panel)
		}
	}
	return all
}

func TestEachPanelSaysWhatItShows(t *testing.T) {
	all, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		ids, titles := map[uint32]bool{}, map[string]bool{}
		for _, p := range panels(d) {
			title := *p.Title
			if p.Description == nil || !strings.HasSuffix(*p.Description, ".") {
				t.Errorf("%s: %q has no description that is a sentence", d.Name, title)
			}
			if p.FieldConfig == nil || p.FieldConfig.Defaults.Unit == nil {
				t.Errorf("%s: %q has no unit", d.Name, title)
			}
			if len(p.Targets) == 0 || p.Datasource == nil {
				t.Errorf("%s: %q asks nobody", d.Name, title)
			}
			if ids[*p.Id] || titles[title] {
				t.Errorf("%s: %q: its id %d or its title is another panel's", d.Name, title, *p.Id)
			}
			ids[*p.Id], titles[title] = true, true
		}
	}
}

func TestPanelsStandBesideEachOther(t *testing.T) {
	all, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		taken := map[[2]uint32]string{}
		for _, p := range panels(d) {
			g := p.GridPos
			if g.X+g.W > 24 {
				t.Errorf("%s: %q ends at column %d of 24", d.Name, *p.Title, g.X+g.W)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other, is := taken[[2]uint32{x, y}]; is {
						t.Fatalf("%s: %q lies upon %q", d.Name, *p.Title, other)
					}
					taken[[2]uint32{x, y}] = *p.Title
				}
			}
		}
	}
}

func TestLinksLeadToDashboardsAndVariablesThatThereAre(t *testing.T) {
	all, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string][]string{} // by uid
	for _, d := range all {
		variables[*d.Uid] = nil
		for _, v := range d.Templating.List {
			variables[*d.Uid] = append(variables[*d.Uid], v.Name)
		}
	}
	target := regexp.MustCompile(`"/d/([a-z-]+)\?([^"]*)"`)
	parameter := regexp.MustCompile(`var-([a-z]+)=`)
	for name, raw := range files(t) {
		for _, m := range target.FindAllSubmatch(raw, -1) {
			uid := string(m[1])
			if _, is := variables[uid]; !is {
				t.Errorf("%s links to %s, which is no dashboard", name, uid)
			}
			for _, p := range parameter.FindAllSubmatch(m[2], -1) {
				if !slices.Contains(variables[uid], string(p[1])) {
					t.Errorf("%s links to %s with the variable %s, which is not there", name, uid, p[1])
				}
			}
		}
	}
}

// builtIn are variables of Grafana itself.
var builtIn = regexp.MustCompile(`^(__.*)$`)

func TestEachVariableThatIsUsedIsThere(t *testing.T) {
	used := regexp.MustCompile(`\$\{?([a-zA-Z_]+)`)
	all, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	raw := files(t)
	for _, d := range all {
		has := map[string]bool{}
		for _, v := range d.Templating.List {
			has[v.Name] = true
		}
		uses := map[string]bool{}
		for _, m := range used.FindAllSubmatch(raw[d.Name], -1) {
			if name := string(m[1]); !builtIn.MatchString(name) {
				uses[name] = true
			}
		}
		for name := range uses {
			if !has[name] {
				t.Errorf("%s uses $%s, which is no variable of it", d.Name, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(has)) {
			if !uses[name] {
				t.Errorf("%s has the variable %s and does not use it", d.Name, name)
			}
		}
	}
}

// Grafana takes an empty word for none of the choices.
func TestNoChoiceIsLeftEmpty(t *testing.T) {
	empty := regexp.MustCompile(`"(orientation|mode|sort|placement|displayMode)": ""`)
	for name, raw := range files(t) {
		if m := empty.Find(raw); m != nil {
			t.Errorf("%s has %s", name, m)
		}
	}
}
