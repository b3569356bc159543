package checkup

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/timeline"
)

// page is what needs a person at a moment.
type page struct {
	Sequence uint64           `json:"sequence"`
	Time     time.Time        `json:"time"`
	Devices  int              `json:"devices"`
	Online   int              `json:"online"`
	Items    []attention.Item `json:"items"`

	// Outage is what a person should know of the connection; empty: it is there.
	Outage string `json:"-"`
}

// look fills the page in from a view, which it does not keep.
func (p *page) look(v *fleet.View, facts attention.Facts) {
	p.Time = p.Time.UTC()
	p.Devices, p.Online = v.CountDevices()
	if p.Items = attention.Of(v, p.Time, facts); p.Items == nil {
		p.Items = []attention.Item{}
	}
}

// head is the page in one line.
func (p page) head() string {
	n := map[attention.Severity]int{}
	for _, i := range p.Items {
		n[i.Severity]++
	}
	needs := "nothing needs you"
	if p.Outage != "" {
		needs = "nothing needed you"
	}
	if len(p.Items) > 0 {
		var parts []string
		for _, s := range []struct {
			of        attention.Severity
			one, many string
		}{{attention.Critical, "critical", "critical"}, {attention.Warning, "warning", "warnings"}, {attention.Notice, "notice", "notices"}} {
			if k := n[s.of]; k > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", k, rollout.Verb(k, s.one, s.many)))
			}
		}
		needs = strings.Join(parts, ", ")
	}
	if p.Outage != "" {
		needs = "not connected; at last " + needs
	}
	return fmt.Sprintf("%s; %d of %s online; event %d, %s", needs, p.Online, rollout.DevicesText(p.Devices), p.Sequence, p.Time.Local().Format(render.TimeLayout))
}

var severityColors = map[attention.Severity]string{attention.Critical: red, attention.Warning: yellow, attention.Notice: green}

// text is the page in lines of a width. Commands go on behind it where they are whole: they can be
// taken from there.
func (p page) text(color bool, width int, whole bool) []string {
	paint := func(c, s string) string {
		if !color {
			return s
		}
		return c + s + plain
	}
	lines := []string{p.head()}
	const indent = "          " // as wide as the severity
	for _, i := range p.Items {
		lines = append(lines, "")
		title := render.Printable(i.Title)
		if !i.Since.IsZero() {
			title += ", for " + timeline.SpanText(max(0, p.Time.Sub(i.Since).Seconds()))
		}
		word := strings.ToUpper(i.Severity.String())
		for n, line := range render.Wrap(title, max(20, width-len(indent))) {
			before := indent
			if n == 0 {
				before = paint(severityColors[i.Severity], word) + strings.Repeat(" ", max(0, len(indent)-utf8.RuneCountInString(word)))
			}
			lines = append(lines, before+line)
		}
		for _, line := range render.Wrap(render.Printable(i.Reason), max(20, width-len(indent))) {
			lines = append(lines, indent+line)
		}
		for _, line := range command(render.Printable(i.Command), width-len(indent), whole) {
			lines = append(lines, indent+paint(dim, line))
		}
	}
	return lines
}

// command is what to run, in lines that a shell reads as one. A text in quotes is not divided.
func command(text string, width int, whole bool) []string {
	const prompt, more = "$ ", ` \`
	if whole || strings.ContainsAny(text, `'"`) {
		return []string{prompt + text}
	}
	lines := render.Wrap(text, max(20, width-len(prompt)-len(more)))
	for i, line := range lines {
		if i > 0 {
			line = "  " + line
		} else {
			line = prompt + line
		}
		if i < len(lines)-1 {
			line += more
		}
		lines[i] = line
	}
	return lines
}
