package score

import (
	"maps"
	"slices"
	"strings"
)

// maxSentenceLen is the most bytes that the API server takes of what a rule says
// with its culprit; past it, and where there is a line break, it says the rule alone.
const maxSentenceLen = 5 << 10

// rule is one sentence of the list of what a score must keep. The CRD has the same
// list in CEL (crds/internal/rules), in the same order and with the same words, so
// that what a device would refuse is refused at kubectl apply; deploy/lint holds
// the two against each other.
type rule struct {
	says string
	// breaks names the first that breaks the rule, as in `service web, ports "x"`;
	// the name is empty where all of the score does.
	breaks func([]wire) (culprit string, broken bool)
}

// problem is the rule's sentence, where the services break it.
func (r rule) problem(services []wire) (string, bool) {
	culprit, broken := r.breaks(services)
	text := culprit + ": " + r.says
	if culprit == "" || strings.Contains(culprit, "\n") || len(text) > maxSentenceLen {
		text = r.says
	}
	return text, broken
}

// everyService is a rule that each service must keep. shows says what is wrong
// with it.
func everyService(ok func(wire) bool, shows func(wire) string, says string) rule {
	return rule{says, func(services []wire) (string, bool) {
		for _, s := range services {
			if !ok(s) {
				return "service " + s.title() + shows(s), true
			}
		}
		return "", false
	}}
}

// title is what to call a service.
func (w wire) title() string {
	if w.Name == nil || *w.Name == "" {
		return "(no name)"
	}
	return *w.Name
}

// field shows the name of a field.
func field(name string) func(wire) string {
	return func(wire) string {
		if name == "" {
			return ""
		}
		return ", " + name
	}
}

// everyItem is a rule that each string of a service's list must keep.
func everyItem(name string, of func(wire) []string, ok func(string) bool, says string) rule {
	broken := func(s wire) int { return slices.IndexFunc(of(s), func(i string) bool { return !ok(i) }) }
	return everyService(
		func(s wire) bool { return broken(s) < 0 },
		func(s wire) string { return ", " + name + ` "` + of(s)[broken(s)] + `"` },
		says)
}

// everyKey is a rule that each key of a service's map must keep.
func everyKey(name string, of func(wire) map[string]string, ok func(string) bool, says string) rule {
	return everyItem(name, func(s wire) []string { return slices.Sorted(maps.Keys(of(s))) }, ok, says)
}

// eachField is a rule about a string of a service, where it is written.
func eachField(name string, of func(wire) *string, ok func(string) bool, says string) rule {
	return everyService(
		func(s wire) bool { v := of(s); return v == nil || ok(*v) },
		func(s wire) string { return ", " + name + ` "` + *of(s) + `"` },
		says)
}

// eachNumber is eachField for a number, which is not shown.
func eachNumber[T int32 | int64](name string, of func(wire) *T, ok func(T) bool, says string) rule {
	return everyService(func(s wire) bool { v := of(s); return v == nil || ok(*v) }, field(name), says)
}

// ofScore is a rule about the score as a whole.
func ofScore(ok func([]wire) bool, says string) rule {
	return rule{says, func(services []wire) (string, bool) { return "", !ok(services) }}
}
