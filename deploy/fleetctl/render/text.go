// Package render writes answers: tables, text and progress for people, JSON and YAML for
// programs.
package render

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/projections/viewdiff"
)

// TextWidth is how wide text for people is, whatever the terminal: a mail, a
// ticket and a log file take it as well.
const TextWidth = 80

// textWriter writes text for people.
type textWriter struct{ s cli.Streams }

func (p textWriter) paint(hue, text string) string {
	if !p.s.Color || hue == "" {
		return text
	}
	return hue + text + plain
}

// line writes a line as it is.
func (p textWriter) line(text string) { p.s.Tell("%s\n", strings.TrimRight(text, " ")) }

// hang writes a head of a given width (without its colours), and text beside it
// that goes on below itself.
func (p textWriter) hang(head string, width int, text, hue string) {
	p.hangBelow(head, strings.Repeat(" ", width), text, hue)
}

// hangBelow is hang with what stands before the further lines, without colours.
func (p textWriter) hangBelow(head, below, text, hue string) {
	lines := Wrap(Printable(text), TextWidth-utf8.RuneCountInString(below))
	for i, l := range lines {
		if i > 0 {
			head = below
		}
		p.line(head + p.paint(hue, l))
	}
}

// Wrap breaks text between words. What is longer than the width by itself, such
// as an image's name, stays whole: it can be copied.
func Wrap(text string, width int) []string {
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
func (p textWriter) changes(fields []viewdiff.Field, indent int) {
	width := 0
	for _, f := range fields {
		width = max(width, utf8.RuneCountInString(f.Path))
	}
	width = min(width, 38)
	pad := strings.Repeat(" ", indent)
	for _, f := range fields {
		before, after := clip(Printable(viewdiff.ValueText(f.Before)), Printable(viewdiff.ValueText(f.After)), TextWidth-indent-6)
		sign, hue, value := "~", yellow, before+" → "+after
		switch {
		case f.Before == nil:
			sign, hue, value = "+", green, after
		case f.After == nil:
			sign, hue, value = "-", red, before
		}
		path := Printable(f.Path)
		head := fmt.Sprintf("%s%s %-*s  ", pad, p.paint(hue, sign), width, path)
		if indent+2+max(width, utf8.RuneCountInString(path))+2+utf8.RuneCountInString(value) <= TextWidth {
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
