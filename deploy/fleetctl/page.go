package fleetctl

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/projections/viewdiff"
)

// pageWidth is how wide text for people is, whatever the terminal: a mail, a
// ticket and a log file take it as well.
const pageWidth = 80

// page writes text for people.
type page struct{ s Streams }

func (p page) paint(hue, text string) string {
	if !p.s.Color || hue == "" {
		return text
	}
	return hue + text + plain
}

// line writes a line as it is.
func (p page) line(text string) { p.s.tell("%s\n", strings.TrimRight(text, " ")) }

// hang writes a head of a given width (without its colours), and text beside it
// that goes on below itself.
func (p page) hang(head string, width int, text, hue string) {
	lines := wrap(printable(text), pageWidth-width)
	for i, l := range lines {
		if i > 0 {
			head = strings.Repeat(" ", width)
		}
		p.line(head + p.paint(hue, l))
	}
}

// wrap breaks text between words. What is longer than the width by itself, such
// as an image's name, stays whole: it can be copied.
func wrap(text string, width int) []string {
	var lines []string
	line, n := "", 0
	for _, word := range strings.Fields(text) {
		l := utf8.RuneCountInString(word)
		if n > 0 && n+1+l > width {
			lines = append(lines, line)
			line, n = "", 0
		}
		if n > 0 {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+l
	}
	return append(lines, line)
}

// changes writes what differs, a line each; where both values do not fit beside
// each other they stand below each other.
func (p page) changes(fields []viewdiff.Field, indent int) {
	width := 0
	for _, f := range fields {
		width = max(width, utf8.RuneCountInString(f.Path))
	}
	width = min(width, 38)
	pad := strings.Repeat(" ", indent)
	for _, f := range fields {
		before, after := clip(printable(viewdiff.ValueText(f.Before)), printable(viewdiff.ValueText(f.After)), pageWidth-indent-6)
		sign, hue, value := "~", yellow, before+" → "+after
		switch {
		case f.Before == nil:
			sign, hue, value = "+", green, after
		case f.After == nil:
			sign, hue, value = "-", red, before
		}
		path := printable(f.Path)
		head := fmt.Sprintf("%s%s %-*s  ", pad, p.paint(hue, sign), width, path)
		if indent+2+max(width, utf8.RuneCountInString(path))+2+utf8.RuneCountInString(value) <= pageWidth {
			p.line(head + value)
			continue
		}
		p.line(fmt.Sprintf("%s%s %s", pad, p.paint(hue, sign), path))
		if f.Before != nil && f.After != nil {
			p.line(pad + "      " + before)
			p.line(pad + "    → " + after)
		} else {
			p.line(pad + "      " + value)
		}
	}
}

// clip shortens two values so that where they begin to differ can be seen.
func clip(before, after string, width int) (string, string) {
	a, b := []rune(before), []rune(after)
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	from := 0
	if max(len(a), len(b)) > width && same > width/2 {
		from = same - width/4
	}
	cut := func(r []rune) string {
		if len(r) <= width {
			return string(r)
		}
		start, lead := min(from, len(r)), ""
		if start > 0 {
			lead = "…"
		}
		r = r[start:]
		if room := width - len([]rune(lead)); len(r) > room {
			return lead + string(r[:room-1]) + "…"
		}
		return lead + string(r)
	}
	return cut(a), cut(b)
}

// document writes a value for machines. ok is false where the output is none of
// theirs.
func document(s Streams, output string, v any) (ok bool, err error) {
	switch output {
	case outputJSON:
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return true, failed(fmt.Errorf("encode the answer: %w", err), "")
		}
		s.tell("%s\n", b)
		return true, nil
	case outputYAML:
		b, err := yaml.Marshal(v)
		if err != nil {
			return true, failed(fmt.Errorf("encode the answer: %w", err), "")
		}
		s.tell("%s", b)
		return true, nil
	}
	return false, nil
}

// checkOutput refuses outputs that a command has not.
func checkOutput(output string) error {
	switch output {
	case "", outputText, outputJSON, outputYAML:
		return nil
	}
	return misused(fmt.Errorf("-o %q is none of the outputs text, json and yaml", output), "-o json")
}
