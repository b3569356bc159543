package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/projections/timeline"
	"fleet.nationtech.io/projections/trace"
)

// Widths of a waterfall, in columns.
const (
	waterfallMin    = 60 // of a line; a narrower terminal breaks lines
	waterfallMax    = 160
	barLeast        = 12
	spanNameMost    = 34
	spanTimeWidth   = 7
	spanStatusWidth = len("rolled back")
)

// maxParts is how many steps and reports of a device are shown.
const maxParts = 12

// waterfall draws spans below each other, on one scale of time.
type waterfall struct {
	textWriter
	begin, end time.Time
	name, bar  int // widths
}

// Waterfall writes the spans of a change: each below the one that it is part of, with a bar
// on a scale that is as wide as the terminal. Of devices it shows so many, those first that
// failed, then the slowest; 0 shows all.
func Waterfall(s cli.Streams, spans []trace.Span, devices int) {
	rows := spanRows(spans, devices)
	if len(rows) == 0 {
		return
	}
	w := waterfall{textWriter: textWriter{s}, begin: rows[0].span.Begin, end: rows[0].span.End}
	width := TextWidth
	if s.Width >= waterfallMin {
		width = min(s.Width, waterfallMax)
	}
	width -= 2*spanTimeWidth + spanStatusWidth + 4*len("  ") // what is left for names and bars
	for _, r := range rows {
		w.name = min(max(w.name, 2*r.depth+utf8.RuneCountInString(r.name)), spanNameMost, width-barLeast)
		if r.span != nil && r.span.End.After(w.end) {
			w.end = r.span.End
		}
	}
	w.bar = width - w.name
	w.line(fmt.Sprintf("%-*s  %*s  %*s  %*s  %s", w.name, "SPAN", spanTimeWidth, "START", w.bar, "", spanTimeWidth, "TOOK", "STATUS"))
	for _, r := range rows {
		w.row(r)
	}
}

func (w waterfall) row(r spanRow) {
	indent := strings.Repeat("  ", r.depth)
	if r.span == nil {
		w.line(indent + w.paint(dim, r.name))
		return
	}
	s := r.span
	status, hue := string(s.Outcome), yellow
	switch {
	case s.Wrong():
		hue = red
	case s.Sequence == 0:
		status = "goes on"
	case s.Outcome == trace.Succeeded:
		hue = green
	}
	w.line(fmt.Sprintf("%-*s  %*s  %s  %*s  %s", w.name, oneLine(indent+r.name, w.name), spanTimeWidth, "+"+spanLength(s.Begin.Sub(w.begin)),
		w.barOf(s, hue), spanTimeWidth, spanLength(s.Took()), w.paint(hue, status)))
	below := indent + "    "
	if r.detail != "" {
		w.hang(below, len(below), oneLine(r.detail, 400), hue)
	}
	for _, n := range s.Notes {
		head := fmt.Sprintf("%s+%s  ", below, spanLength(n.At.Sub(w.begin)))
		text := strings.ReplaceAll(strings.Replace(n.Name, ".", " ", 1), "_", " ") + prefixed(": ", n.Message, "")
		w.hang(head, len(head), oneLine(text, 400), yellow)
	}
}

// barOf draws a span on the scale, filled where it has ended. It is at least a column wide.
func (w waterfall) barOf(s *trace.Span, hue string) string {
	all := max(w.end.Sub(w.begin), 1).Seconds()
	at := func(t time.Time) float64 { return t.Sub(w.begin).Seconds() / all * float64(w.bar) }
	from := min(int(at(s.Begin)), w.bar-1)
	to := min(max(int(at(s.End)+0.5), from+1), w.bar)
	cell := "█"
	if s.Sequence == 0 {
		cell = "░"
	}
	return strings.Repeat(" ", from) + w.paint(hue, strings.Repeat(cell, to-from)) + strings.Repeat(" ", w.bar-to)
}

// spanLength is a duration in at most six columns.
func spanLength(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Millisecond:
		return "<1ms"
	}
	return timeline.SpanText(d.Seconds())
}

// spanRow is a line of a waterfall.
type spanRow struct {
	depth  int
	name   string
	span   *trace.Span // nil: the line says what is left out
	detail string      // why it failed; empty where a line above says the same
}

// spanTree arranges spans as rows.
type spanTree struct {
	children map[[8]byte][]*trace.Span
	shown    map[[8]byte]bool // devices
	rows     []spanRow
}

func spanRows(spans []trace.Span, devices int) []spanRow {
	t := spanTree{children: map[[8]byte][]*trace.Span{}, shown: map[[8]byte]bool{}}
	var roots, ranked []*trace.Span
	for i := range spans {
		s := &spans[i]
		t.children[s.Parent] = append(t.children[s.Parent], s)
		switch s.Kind {
		case trace.KindChange:
			roots = append(roots, s)
		case trace.KindDevice:
			ranked = append(ranked, s)
		}
	}
	slices.SortFunc(ranked, worstFirst)
	for i, s := range ranked {
		t.shown[s.ID] = devices == 0 || i < devices
	}
	for _, s := range roots {
		t.add(s, spanName(s), 0, "")
	}
	return t.rows
}

// worstFirst puts what failed first, then what took longest.
func worstFirst(a, b *trace.Span) int {
	if a.Wrong() != b.Wrong() {
		if a.Wrong() {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(b.Took(), a.Took()), a.Begin.Compare(b.Begin), cmp.Compare(a.Device, b.Device))
}

// add adds a span under a name, and what is below it. above is the detail of the nearest line that has one.
func (t *spanTree) add(s *trace.Span, name string, depth int, above string) {
	r := spanRow{depth: depth, name: name, span: s, detail: phrase.Join(s.Reason, phrase.Quoted(s.Message))}
	if r.detail == above {
		r.detail = ""
	} else if r.detail != "" {
		above = r.detail
	}
	t.rows = append(t.rows, r)
	var parts, devices []*trace.Span
	for _, c := range t.children[s.ID] {
		if c.Kind == trace.KindDevice {
			devices = append(devices, c)
		} else {
			parts = append(parts, c)
		}
	}
	slices.SortStableFunc(parts, func(a, b *trace.Span) int { return a.Begin.Compare(b.Begin) })
	slices.SortFunc(devices, worstFirst)
	for i, c := range parts {
		if s.Kind == trace.KindDevice && i == maxParts {
			t.more(depth+1, len(parts)-i, "step or report", "steps and reports")
			break
		}
		name := spanName(c)
		if s.Kind == trace.KindStep { // its line has the service
			name = Printable(c.Name)
		}
		t.add(c, name, depth+1, above)
	}
	for i, c := range devices {
		if !t.shown[c.ID] { // those behind it rank lower
			t.more(depth+1, len(devices)-i, "device", "devices")
			break
		}
		t.add(c, spanName(c), depth+1, above)
	}
}

// more says how many are left out.
func (t *spanTree) more(depth, n int, one, many string) {
	t.rows = append(t.rows, spanRow{depth: depth, name: fmt.Sprintf("and %d more %s", n, map[bool]string{true: one, false: many}[n == 1])})
}

// spanName is a span's name as a line has it.
func spanName(s *trace.Span) string {
	switch s.Kind {
	case trace.KindBatch:
		return fmt.Sprintf("%s %d", s.Name, s.Batch)
	case trace.KindDevice:
		if s.Name != string(trace.KindDevice) {
			return Printable(s.Device) + " " + s.Name
		}
		return Printable(s.Device)
	case trace.KindStep:
		return Printable(phrase.Join(s.Service, s.Name))
	}
	return Printable(s.Name)
}
