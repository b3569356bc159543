package rules

import (
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

const (
	// maxDevices is the largest number of devices that a size or a budget can say.
	maxDevices = 1_000_000
	// maxDuration is the most characters of a duration.
	maxDuration = 32
	// maxSchedule and maxZone are the most characters of a window's schedule and zone.
	maxSchedule, maxZone = 128, 64
	// maxQuery is the most characters of a gate's query.
	maxQuery = 1024
	// longest is the longest soak or deadline there can be.
	longest = "720h"
)

// percentages are "1%" to "100%" with their numbers, as a CEL map. A pattern would
// cost too much: the API server has no maximum for the text of what may be a number,
// too.
var percentages = func() string {
	var entries []string
	for n := range 100 {
		number := strconv.Itoa(n + 1)
		entries = append(entries, "'"+number+"%': "+number)
	}
	return "{" + strings.Join(entries, ", ") + "}"
}()

// amount is a CEL expression: is v a number of devices, at least so many, or a
// percentage?
func amount(v string, least int) string {
	return "(type(" + v + ") == int ? " + v + " >= " + strconv.Itoa(least) + " && " + v + " <= " + strconv.Itoa(maxDevices) + " : " + v + " in " + percentages + ")"
}

// rolloutPlaces are the rules of spec.rollout, each where its field is, so that the
// API server's message names the batch.
func rolloutPlaces() []place {
	return []place{
		{"spec.rollout", func(s *schema) { s.XValidations = Rollout() }},
		{"spec.rollout.successThreshold", func(s *schema) { s.MaxLength = ptr(maxDuration) }},
		{"spec.rollout.progressDeadline", func(s *schema) { s.MaxLength = ptr(maxDuration) }},
		{"spec.rollout.dependsOn[]", func(s *schema) { s.MaxLength = ptr(maxLabelKey) }},
		{"spec.rollout.windows[]", func(s *schema) { s.XValidations = Window() }},
		{"spec.rollout.windows[].schedule", func(s *schema) { s.MaxLength = ptr(maxSchedule) }},
		{"spec.rollout.windows[].timeZone", func(s *schema) { s.MaxLength = ptr(maxZone) }},
		{"spec.rollout.windows[].duration", func(s *schema) { s.MaxLength = ptr(maxDuration) }},
		{"spec.rollout.rate", func(s *schema) { s.XValidations = Rate() }},
		{"spec.rollout.rate.per", func(s *schema) { s.MaxLength = ptr(maxDuration) }},
		{"spec.rollout.batches", func(s *schema) { s.XValidations = Batches() }},
		{"spec.rollout.batches[]", func(s *schema) { s.XValidations = Batch() }},
		{"spec.rollout.batches[].soak", func(s *schema) { s.MaxLength = ptr(maxDuration) }},
		{"spec.rollout.batches[].gates[].name", func(s *schema) { s.MaxLength, s.XValidations = ptr(maxLabelKey), label("a gate's name") }},
		{"spec.rollout.batches[].gates[].prometheus", func(s *schema) { s.XValidations = PrometheusGate() }},
		{"spec.rollout.batches[].gates[].prometheus.server", func(s *schema) { s.MaxLength, s.XValidations = ptr(maxLabelKey), label("a server's name") }},
		{"spec.rollout.batches[].gates[].prometheus.query", func(s *schema) { s.MaxLength = ptr(maxQuery) }},
		{"spec.rollout.batches[].gates[].prometheus.max", func(s *schema) { s.MaxLength = ptr(maxDuration) }},
		{"spec.rollout.batches[].gates[].prometheus.min", func(s *schema) { s.MaxLength = ptr(maxDuration) }},
		{"spec.rollout.batches[].gates[].prometheus.for", func(s *schema) { s.MaxLength = ptr(maxDuration) }},
		{"spec.rollout.batches[].selector", func(s *schema) { putSelector(s, boundsOfPin, noDevice) }},
	}
}

// Rollout returns the rules of spec.rollout, but for those of its batches.
func Rollout() apiextensionsv1.ValidationRules {
	const dependsOn = "self.dependsOn"
	label := matches("n", LabelPattern)
	unique := dependsOn + ".exists_one(o, o == n)"
	return apiextensionsv1.ValidationRules{
		rule(".successThreshold", "!has(self.successThreshold) || self.successThreshold in "+percentages, "",
			"successThreshold is a percentage from 1% to 100%, such as \"95%\""),
		rule(".maxUnavailable", "!has(self.maxUnavailable) || "+amount("self.maxUnavailable", 1), "",
			"maxUnavailable is a number of devices, at least 1, or a percentage from 1% to 100%, such as \"10%\": with 0, no device could ever be changed (paused: true holds a rollout)"),
		lasts(".progressDeadline", "self.progressDeadline", "1s",
			"progressDeadline is a duration from 1s to "+longest+", such as \"10m\" or \"1h30m\""),
		rule(".dependsOn", "!has("+dependsOn+") || "+dependsOn+".all(n, "+label+")",
			dependsOn+".map(n, !"+label+", '\"' + n + '\"')[0]",
			"dependsOn has names of Deployments in the same namespace: labels of lower-case letters, digits and '-', at most 63 characters, a letter or digit first and last"),
		rule(".dependsOn", "!has("+dependsOn+") || "+dependsOn+".all(n, "+unique+")",
			dependsOn+".map(n, !"+unique+", '\"' + n + '\"')[0]",
			"dependsOn names each Deployment once"),
		rule(".windows", "!has(self.windows) || !has(self.strategy) || self.strategy != 'Immediate'", "",
			"an Immediate rollout waits for nothing: take the windows away, or let the strategy be Batched"),
		rule(".rate", "!has(self.rate) || !has(self.strategy) || self.strategy != 'Immediate'", "",
			"an Immediate rollout waits for nothing: take the rate away, or let the strategy be Batched"),
	}
}

// label is the rule of a name that is a label.
func label(what string) apiextensionsv1.ValidationRules {
	return apiextensionsv1.ValidationRules{rule("", matches("self", LabelPattern), "",
		what+" is a label of lower-case letters, digits and '-', a letter or digit first and last")}
}

// PrometheusGate returns the rules of a gate that asks Prometheus.
func PrometheusGate() apiextensionsv1.ValidationRules {
	number := func(field string) apiextensionsv1.ValidationRule {
		v := "self." + field
		return rule("."+field, "!has("+v+") || "+matches(v, `^[+-]?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$`), "",
			field+" is a number as text, such as \"0.05\"")
	}
	return apiextensionsv1.ValidationRules{
		rule("", "has(self.max) || has(self.min)", "",
			"a gate needs max, min or both: without, every value would let the batch go on"),
		number("max"), number("min"),
		rule(".min", "!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)", "",
			"min is above max: no value could let the batch go on"),
		rule(".query", "self.query.trim() != ''", "",
			"query is empty: write one that gives one sample, such as sum(rate(errors_total[5m]))"),
		rule(".query", "!self.query.contains('{{')", "",
			"query is PromQL as it is: it has no arguments, so nothing would take the place of what is in {{ }}"),
		lasts(".for", "self.__for__", "0s", "for is a duration from 0s to "+longest+", such as \"1m\""),
	}
}

// Rate returns the rules of a rate.
func Rate() apiextensionsv1.ValidationRules {
	return apiextensionsv1.ValidationRules{
		rule(".per", "!has(self.per) || self.per != '' && "+matches("self.per", DurationPattern)+" && duration(self.per) >= duration('1s') && duration(self.per) <= duration('24h')", "",
			"per is from 1s to 24h, such as \"1m\" or \"1h\""),
		rule(".increase.maxDevices", "!has(self.increase) || !has(self.increase.maxDevices) || self.increase.maxDevices >= self.devices", "",
			"maxDevices is what the rate grows up to: at least as many as devices"),
	}
}

// Window returns the rules of one window.
func Window() apiextensionsv1.ValidationRules {
	return apiextensionsv1.ValidationRules{
		rule(".schedule", matches("self.schedule", schedulePattern), "",
			"schedule is a cron expression of five fields (minute hour day month weekday), such as \"0 22 * * 1-5\", or @hourly, @daily, @weekly, @monthly, @yearly"),
		// A zone that the API server does not know makes the rule fail, and it says which.
		rule(".timeZone", "!has(self.timeZone) || self.timeZone != '' && self.timeZone != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self.timeZone) >= 0", "",
			"timeZone is a name of the IANA database, such as \"Europe/Paris\" or \"UTC\""),
		rule(".duration", matches("self.duration", DurationPattern)+" && duration(self.duration) >= duration('1m') && duration(self.duration) <= duration('168h')", "",
			"duration is from 1m to 168h, such as \"4h\" or \"1h30m\""),
	}
}

// schedulePattern is a cron schedule as far as its form goes; the operator reads the rest.
var schedulePattern = func() string {
	field := func(value string) string {
		part := `(\*|\?|` + value + `(-` + value + `)?)(/[1-9][0-9]?)?`
		return part + `(,` + part + `)*`
	}
	fields := []string{
		field(`[0-5]?[0-9]`), field(`([01]?[0-9]|2[0-3])`), field(`(0?[1-9]|[12][0-9]|3[01])`),
		field(`(0?[1-9]|1[0-2]|[A-Za-z]{3})`), field(`([0-6]|[A-Za-z]{3})`),
	}
	return `^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|` + strings.Join(fields, ` +`) + `)$`
}()

// dependsOnItself stands at the root of the schema, as only there the name is known.
func dependsOnItself() apiextensionsv1.ValidationRule {
	const dependsOn = "self.spec.rollout.dependsOn"
	return rule(".spec.rollout.dependsOn",
		"!has(self.spec.rollout) || !has("+dependsOn+") || !(self.metadata.name in "+dependsOn+")", "",
		"a Deployment cannot depend on itself: take its own name out of dependsOn")
}

// Batches returns the rules of the list of batches.
func Batches() apiextensionsv1.ValidationRules {
	const rest = "!has(b.size) && !has(b.selector)"
	sizes := func(where, number string) string {
		return "self.filter(b, has(b.size) && " + where + ").map(b, " + number + ")"
	}
	rise := func(numbers string) string {
		return "[" + numbers + "].all(l, l.isSorted() && l.all(n, l.exists_one(o, o == n)))"
	}
	const says = "a size counts the devices of the batches before it, too: each is larger than the one before it, as in 1%, 10%"
	return apiextensionsv1.ValidationRules{
		rule("", "self.filter(b, "+rest+").size() == 0 || (self.filter(b, "+rest+").size() == 1 && self.filter(b, "+rest+")[0] == self[self.size() - 1])", "",
			"each batch but the last needs a size, such as \"10%\", or a selector: only the last takes the rest"),
		rule("", rise(sizes("type(b.size) == int", "int(b.size)")), "", says),
		rule("", "["+percentages+"].all(p, "+rise(sizes("b.size in p", "p[b.size]"))+")", "", says),
	}
}

// Batch returns the rules of one batch.
func Batch() apiextensionsv1.ValidationRules {
	return apiextensionsv1.ValidationRules{
		rule("", "!has(self.size) || !has(self.selector)", "",
			"a batch has a size or a selector, not both: make two batches of it"),
		rule(".size", "!has(self.size) || "+amount("self.size", 1), "",
			"a size is a number of devices, at least 1, or a percentage from 1% to 100%, such as \"10%\""),
		lasts(".soak", "self.soak", "0s",
			"soak is a duration from 0s to "+longest+", such as \"5m\" or \"1h30m\""),
		rule(".fourEyes", "!has(self.fourEyes) || !self.fourEyes || (has(self.approval) && self.approval == 'Manual')", "",
			"fourEyes is about who approves: it needs approval: Manual"),
	}
}

// lasts is a rule about an optional duration.
func lasts(fieldPath, v, least, says string) apiextensionsv1.ValidationRule {
	ok := v + " != '' && " + matches(v, DurationPattern) + " && duration(" + v + ") >= duration('" + least + "') && duration(" + v + ") <= duration('" + longest + "')"
	return rule(fieldPath, "!has("+v+") || ("+ok+")", "", says)
}
