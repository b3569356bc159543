package manual_test

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/manual"
)

// keys are the keys of the configuration, by their tables.
func keys(t reflect.Type, table string) (all [][2]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if f.Type.Kind() == reflect.Struct {
			all = append(all, keys(f.Type, name)...)
		} else {
			all = append(all, [2]string{table, name})
		}
	}
	return all
}

func TestTheManualHasEveryKey(t *testing.T) {
	t.Parallel()
	page := string(manual.Configuration("1.2.3", time.Unix(0, 0)))
	sections := map[string]string{}
	first, rest, _ := strings.Cut(page, ".SS [")
	sections[""] = first
	for section := range strings.SplitSeq(rest, ".SS [") {
		name, text, _ := strings.Cut(section, "]")
		sections[name] = text
	}
	for _, k := range keys(reflect.TypeFor[config.Config](), "") {
		table, name := k[0], k[1]
		if name == "labels" { // a table of any keys
			if sections["labels"] == "" {
				t.Error("the page has no section [labels]")
			}
			continue
		}
		if !strings.Contains(sections[table], `\fB`+name+`\fR`) {
			t.Errorf("section [%s] of the page has no %s", table, name)
		}
	}
}

// tablesOf are the lines of each table of the example; those before the first one are of
// the table "".
func tablesOf(example string) map[string]string {
	tables, name := map[string]string{}, ""
	for line := range strings.Lines(example) {
		if table, found := strings.CutPrefix(strings.TrimSpace(line), "["); found {
			name = strings.TrimSuffix(table, "]")
			tables[name] = ""
			continue
		}
		tables[name] += line
	}
	return tables
}

func TestTheExampleHasEveryKeyAndIsRight(t *testing.T) {
	t.Parallel()
	if _, err := config.Parse(manual.Example()); err != nil {
		t.Errorf("as it is: %v", err)
	}
	tables := tablesOf(string(manual.Example()))
	for _, k := range keys(reflect.TypeFor[config.Config](), "") {
		table, name := k[0], k[1]
		if _, found := tables[name]; table == "" && found { // a table of any keys
			continue
		}
		if !regexp.MustCompile(`(?m)^(# )?` + name + ` = `).MatchString(tables[table]) {
			t.Errorf("table [%s] of the example has no %s", table, name)
		}
	}
	// What is commented out is right, too; user and password belong to another mode.
	all := regexp.MustCompile(`(?m)^# ([a-z_]+ = )`).ReplaceAll(manual.Example(), []byte("$1"))
	all = regexp.MustCompile(`(?m)^(user|password) = .*\n`).ReplaceAll(all, nil)
	if _, err := config.Parse(all); err != nil {
		t.Errorf("with all that is commented out: %v", err)
	}
}

func TestPagesHaveTheirVersionAndDate(t *testing.T) {
	t.Parallel()
	for name, page := range map[string][]byte{
		"fleet-agent(8)":      manual.Program("1.2-3", time.Unix(0, 0)),
		"fleet-agent.toml(5)": manual.Configuration("1.2-3", time.Unix(0, 0)),
	} {
		if !bytes.Contains(page, []byte(`"1970-01-01" "fleet\-agent 1.2\-3"`)) || bytes.ContainsRune(page, '@') {
			t.Errorf("%s begins with %.80s", name, page)
		}
	}
}
