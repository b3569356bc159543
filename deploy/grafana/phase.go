package grafana

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// phases are those of a rollout, in the order in which a person should look at them.
// A panel shows a phase by its number, since Grafana colours and sorts numbers.
var phases = []struct {
	name   string
	number int
	colour string
}{
	{"Paused", 6, red},
	{"RollingBack", 5, orange},
	{"Aborted", 4, purple},
	{"RolledBack", 3, yellow},
	{"Progressing", 2, blue},
	{"Completed", 1, green},
}

// phaseNumber is the number of each Deployment's phase. Every replica of the operator
// says the same, so the highest is taken.
func phaseNumber(where string) string {
	terms := make([]string, 0, len(phases))
	for _, p := range phases {
		terms = append(terms, fmt.Sprintf("%d * fleet_rollout_phase%s", p.number, with(where, `phase="`+p.name+`"`)))
	}
	return "max by (deployment_namespace, deployment_name) (\n  " + strings.Join(terms, "\n  or ") + "\n)"
}

func phaseMappings() []dashboard.ValueMapping {
	options := map[string]dashboard.ValueMappingResult{}
	for i, p := range phases {
		options[fmt.Sprint(p.number)] = dashboard.ValueMappingResult{
			Text: cog.ToPtr(p.name), Color: cog.ToPtr(p.colour), Index: cog.ToPtr(int32(i)),
		}
	}
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: options}}}
}

// yesNo maps 1 and 0 to words, in the colours of what each means.
func yesNo(yes, yesColour, no, noColour string) []dashboard.ValueMapping {
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{
		Type: dashboard.MappingTypeValueToText,
		Options: map[string]dashboard.ValueMappingResult{
			"1": {Text: &yes, Color: &yesColour, Index: cog.ToPtr(int32(0))},
			"0": {Text: &no, Color: &noColour, Index: cog.ToPtr(int32(1))},
		},
	}}}
}

// with adds a matcher to a selector's braces, which may be empty.
func with(where, matcher string) string {
	if where == "" {
		return "{" + matcher + "}"
	}
	return strings.TrimSuffix(where, "}") + "," + matcher + "}"
}

// Colours of Grafana's palette.
const (
	green  = "green"
	yellow = "yellow"
	orange = "orange"
	red    = "red"
	blue   = "blue"
	purple = "purple"
	grey   = "#808080"
)
