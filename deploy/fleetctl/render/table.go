package render

import (
	"strings"
	"unicode/utf8"

	"fleet.nationtech.io/deploy/fleetctl/cli"
)

// table prints rows below each other, as kubectl does, and goes on in the same
// columns when more rows come.
type table struct {
	s      cli.Streams
	widths []int
}

// Table prints rows; the first is their head.
func Table(s cli.Streams, rows [][]string) {
	t := table{s: s}
	t.print(rows...)
}

// tableGap is what is between two columns.
const tableGap = 3

// print prints rows; the first of a table is its head.
func (t *table) print(rows ...[]string) {
	for _, row := range rows {
		for i, cell := range row {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+tableGap))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	t.s.Tell("%s", b.String())
}
