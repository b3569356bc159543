// Package draw draws series as SVG: lines, stacked areas, states over time, single
// figures and tables, in the colours of Grafana's dark theme.
package draw

import (
	"fmt"
	"html"
	"strings"
)

// Canvas is a picture in the making. Coordinates are pixels from the upper left corner.
type Canvas struct {
	width, height int
	b             strings.Builder
}

// Colours of Grafana's dark theme.
const (
	background = "#111217"
	panel      = "#181b1f"
	edge       = "#2c3235"
	text       = "#ccccdc"
	faint      = "#8e8e99"
)

// palette has Grafana's colours by name.
var palette = map[string]string{
	"green": "#73BF69", "yellow": "#FADE2A", "orange": "#FF9830", "red": "#F2495C", "blue": "#5794F2", "purple": "#B877D9",
	"transparent": panel, "text": text,
}

// series are the colours of series that have none of their own.
var series = []string{"#73BF69", "#FADE2A", "#5794F2", "#FF9830", "#F2495C", "#B877D9", "#8AB8FF", "#C0D8FF"}

// Hex gives a colour of Grafana by its name; a name that is none is a colour itself.
func Hex(name string) string {
	if c, is := palette[name]; is {
		return c
	}
	return name
}

// New makes an empty picture.
func New(width, height int) *Canvas {
	c := &Canvas{width: width, height: height}
	fmt.Fprintf(&c.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="Inter, Helvetica, Arial, sans-serif">`+"\n", width, height, width, height)
	c.rect(0, 0, float64(width), float64(height), background, "none")
	return c
}

// SVG gives the picture.
func (c *Canvas) SVG() []byte { return []byte(c.b.String() + "</svg>\n") }

// Text writes a line of a size in pixels; its left end is at x, its foot at y.
func (c *Canvas) Text(x, y float64, size int, colour, s string) {
	c.write(x, y, size, colour, "start", s)
}

func (c *Canvas) write(x, y float64, size int, colour, anchor, s string) {
	fmt.Fprintf(&c.b, `<text x="%.1f" y="%.1f" font-size="%d" fill="%s" text-anchor="%s">%s</text>`+"\n", x, y, size, Hex(colour), anchor, html.EscapeString(s))
}

func (c *Canvas) rect(x, y, w, h float64, fill, stroke string) {
	fmt.Fprintf(&c.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s" stroke="%s"/>`+"\n", x, y, w, h, fill, stroke)
}

func (c *Canvas) line(x1, y1, x2, y2 float64, colour, dash string) {
	fmt.Fprintf(&c.b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="%s"/>`+"\n", x1, y1, x2, y2, colour, dash)
}

// Box is where a panel is.
type Box struct{ X, Y, W, H float64 }

// frame draws a panel's frame and title, and gives what is left inside.
func (c *Canvas) frame(b Box, title string) Box {
	c.rect(b.X, b.Y, b.W, b.H, panel, edge)
	c.Text(b.X+10, b.Y+20, 13, text, title)
	return Box{b.X + 10, b.Y + 30, b.W - 20, b.H - 40}
}

// Figure is one value on its colour.
func (c *Canvas) Figure(b Box, title, value, colour string) {
	c.rect(b.X, b.Y, b.W, b.H, Hex(colour), edge)
	c.Text(b.X+8, b.Y+20, 12, "#ffffff", title)
	size := 28
	if len(value) > 12 {
		size = 18
	}
	c.write(b.X+b.W/2, b.Y+b.H/2+18, size, "#ffffff", "middle", value)
}

// Cell is one of a table.
type Cell struct {
	Text   string
	Colour string // of its ground; empty for none
}

// Table is a table; its first row is the head.
func (c *Canvas) Table(b Box, title string, rows [][]Cell) {
	in := c.frame(b, title)
	for i, row := range rows {
		y := in.Y + float64(i)*26
		w := in.W / float64(len(row))
		for j, cell := range row {
			x := in.X + float64(j)*w
			colour := text
			if i == 0 {
				colour = faint
			}
			if cell.Colour != "" {
				c.rect(x, y, w-4, 22, Hex(cell.Colour), "none")
				colour = "#ffffff"
			}
			c.Text(x+6, y+16, 11, colour, cell.Text)
		}
	}
}
