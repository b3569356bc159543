package replay

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Cells with names are for fleets that leave room for them.
const nameGap = 2

// named is how many columns a cell with its device's name takes, or 0 where the
// devices have no room for their names in so many lines.
func (c Screen) named(p *Player, lines int) int {
	width := len("R ") + p.grid.maxIDLen + nameGap
	columns := (c.Width + nameGap) / width
	if columns == 0 || (len(p.grid.ids)+columns-1)/columns > lines {
		return 0
	}
	return width
}

// cellRows is how many lines the cells want, of those that are left.
func (c Screen) cellRows(p *Player, left int) int {
	n := len(p.grid.ids)
	if n == 0 {
		return min(left, 1)
	}
	if width := c.named(p, max(1, left/2)); width > 0 {
		columns := (c.Width + nameGap) / width
		return (n + columns - 1) / columns
	}
	return (n + c.Width - 1) / max(1, c.Width)
}

// cells draws the devices in so many lines.
func (c Screen) cells(p *Player, lines int) []string {
	if lines <= 0 || c.Width <= 0 {
		return nil
	}
	if len(p.grid.ids) == 0 {
		return []string{c.Palette.Dim.Render("no device yet")}
	}
	if width := c.named(p, lines); width > 0 {
		return c.namedCells(p, width)
	}
	cells, _ := p.grid.cells(lines * c.Width)
	var out []string
	for len(cells) > 0 {
		n := min(c.Width, len(cells))
		out = append(out, c.run(cells[:n]))
		cells = cells[n:]
	}
	return out
}

func (c Screen) namedCells(p *Player, width int) []string {
	columns := (c.Width + nameGap) / width
	var out []string
	for i := 0; i < len(p.grid.ids); i += columns {
		var b strings.Builder
		for j := i; j < min(i+columns, len(p.grid.ids)); j++ {
			s, id := p.grid.states[j], p.grid.ids[j]
			b.WriteString(c.Palette.State[s].Render(string(s.Letter()) + " " + id))
			b.WriteString(strings.Repeat(" ", width-len("R ")-len(id)))
		}
		out = append(out, strings.TrimRight(b.String(), " "))
	}
	return out
}

// run paints neighbours of one state at once: thousands of cells are
// a few hundred strokes.
func (c Screen) run(cells []State) string {
	var b strings.Builder
	for i := 0; i < len(cells); {
		j := i
		for j < len(cells) && cells[j] == cells[i] {
			j++
		}
		b.WriteString(c.Palette.State[cells[i]].Render(strings.Repeat(string(cells[i].Letter()), j-i)))
		i = j
	}
	return b.String()
}

// legend says what the letters mean, how many devices there are of each, and how
// many one cell stands for.
func (c Screen) legend(p *Player, lines int) string {
	var parts []string
	for s := states; s > 0; s-- {
		s := s - 1
		if n := p.grid.count[s]; n > 0 || s == StateRunning {
			parts = append(parts, c.Palette.State[s].Render(fmt.Sprintf("%c %s %d", s.Letter(), s.Word(), n)))
		}
	}
	line := strings.Join(parts, "  ")
	if c.named(p, lines) > 0 {
		return line
	}
	if _, each := p.grid.cells(lines * c.Width); each > 1 {
		more := fmt.Sprintf("  each cell is %d devices, the worst one shows", each)
		if ansi.StringWidth(line+more) > c.Width {
			more = fmt.Sprintf("  %d a cell", each)
		}
		line += c.Palette.Dim.Render(more)
	}
	return line
}
