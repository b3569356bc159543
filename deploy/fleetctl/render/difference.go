package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/projections/viewdiff"
)

// Difference is what diff tells, as JSON.
type Difference struct {
	From    LogPosition       `json:"from"`
	To      LogPosition       `json:"to"`
	Changes []viewdiff.Change `json:"changes"`
}

// LogPosition is a place in the log that a moment stands for.
type LogPosition struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
}

// Text is the differences for people, as diff -u begins: where from, where to,
// then each thing that differs, with a sign.
func (d Difference) Text(color bool) string {
	var b strings.Builder
	for i, p := range []LogPosition{d.From, d.To} {
		fmt.Fprintf(&b, "%s %6d  %s\n", []string{"---", "+++"}[i], p.Sequence, p.Time.Local().Format(TimeLayout))
	}
	for _, c := range d.Changes {
		sign, hue := "~", yellow
		switch c.Change {
		case viewdiff.Added:
			sign, hue = "+", green
		case viewdiff.Removed:
			sign, hue = "-", red
		}
		head := sign + " " + string(c.About) + " " + whatOf(c)
		if color {
			head = hue + head + plain
		}
		b.WriteString(head)
		b.WriteString(fieldsText(c))
		b.WriteByte('\n')
	}
	return b.String()
}

func whatOf(c viewdiff.Change) string {
	deployment := strings.Trim(c.Namespace+"/"+c.Deployment, "/")
	return strings.TrimSpace(c.Device + " " + deployment)
}

// fieldsText puts what a device says on one line, and a line for each field of
// what a person wrote.
func fieldsText(c viewdiff.Change) string {
	var parts []string
	for _, f := range c.Fields {
		if c.About == viewdiff.AboutAssignment && f.Path == "score_hash" && slices.ContainsFunc(c.Fields, func(o viewdiff.Field) bool { return o.Path == "revision" }) {
			continue // the revision says it, in fewer letters
		}
		if c.Change == viewdiff.Removed {
			f.Before, f.After = nil, f.Before // the sign says that it is gone
		}
		parts = append(parts, fieldText(f))
	}
	switch {
	case len(parts) == 0:
		return ""
	case c.About == viewdiff.AboutAssignment || c.About == viewdiff.AboutState:
		return "  " + strings.Join(parts, ", ")
	}
	return "\n    " + strings.Join(parts, "\n    ")
}

func fieldText(f viewdiff.Field) string {
	path := f.Path
	switch {
	case f.Before == nil:
		return path + ": " + valueText(f.After)
	case f.After == nil:
		return path + ": " + valueText(f.Before) + " → none"
	}
	return path + ": " + valueText(f.Before) + " → " + valueText(f.After)
}

// maxValueLen is how much of a value is shown to people; -o json has all of it.
const maxValueLen = 160

func valueText(raw json.RawMessage) string {
	text := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil && s != "" && s == strings.TrimSpace(s) && !strings.ContainsAny(s, "\n→,") {
		text = s
	}
	if r := []rune(text); len(r) > maxValueLen {
		text = string(r[:maxValueLen]) + "…"
	}
	return Printable(text)
}
