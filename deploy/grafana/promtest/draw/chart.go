package draw

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Point is a value at a moment, in seconds from the beginning of the picture.
type Point struct{ At, Value float64 }

// Series is a line, or one of stacked areas.
type Series struct {
	Name   string
	Colour string // empty: one of the palette
	Points []Point
}

// Mark is a moment that graphs show.
type Mark struct {
	At     float64
	Label  string
	Colour string
}

// Chart is a graph over time.
type Chart struct {
	Title   string
	Lasts   float64 // seconds
	Stacked bool
	Percent bool // values are shares
	Series  []Series
	Marks   []Mark
}

// Chart draws a graph: axes, marks, series and their names.
func (c *Canvas) Chart(b Box, g Chart) {
	in := c.frame(b, g.Title)
	in.X, in.W, in.H = in.X+36, in.W-40, in.H-44
	lines := g.lines()
	top := 0.0
	for _, s := range lines {
		for _, p := range s.Points {
			top = max(top, p.Value)
		}
	}
	top = nice(top * 0.98) // what is a little more than the top is drawn at the top
	x := func(at float64) float64 { return in.X + in.W*at/g.Lasts }
	y := func(v float64) float64 { return in.Y + in.H - in.H*v/top }
	for i := range 5 {
		v := top * float64(i) / 4
		c.line(in.X, y(v), in.X+in.W, y(v), edge, "")
		label := fmt.Sprintf("%g", v)
		if g.Percent {
			label = fmt.Sprintf("%g%%", math.Round(v*100))
		}
		c.write(in.X-6, y(v)+4, 10, faint, "end", label)
	}
	c.times(in, g.Lasts)
	if g.Stacked {
		slices.Reverse(lines) // the highest first, the others upon it
	}
	for _, s := range lines {
		c.curve(s, g.Stacked, x, y)
	}
	for i, m := range g.Marks {
		c.line(x(m.At), in.Y, x(m.At), in.Y+in.H, Hex(m.Colour), "4 3")
		c.write(x(m.At)+3, in.Y+10+11*float64(i), 9, m.Colour, "start", m.Label) // below the one before
	}
	if g.Stacked {
		slices.Reverse(lines)
	}
	at := in.X - 30
	for _, s := range lines {
		c.rect(at, in.Y+in.H+24, 12, 4, s.Colour, "none")
		c.Text(at+16, in.Y+in.H+30, 11, text, s.Name)
		at += 34 + 6.2*float64(len(s.Name))
	}
}

// lines gives the series as they are drawn: with a colour, and stacked where that is
// asked for.
func (g Chart) lines() []Series {
	all := make([]Series, len(g.Series))
	sum := map[float64]float64{}
	for i, s := range g.Series {
		if s.Colour == "" {
			s.Colour = series[i%len(series)]
		}
		s.Colour = Hex(s.Colour)
		s.Points = slices.Clone(s.Points)
		if g.Stacked {
			for j, p := range s.Points {
				sum[p.At] += p.Value
				s.Points[j].Value = sum[p.At]
			}
		}
		all[i] = s
	}
	return all
}

func (c *Canvas) curve(s Series, filled bool, x, y func(float64) float64) {
	if len(s.Points) == 0 {
		return
	}
	var d strings.Builder
	for i, p := range s.Points {
		if i == 0 {
			fmt.Fprintf(&d, "M%.1f %.1f", x(p.At), y(p.Value))
			continue
		}
		fmt.Fprintf(&d, "L%.1f %.1f", x(p.At), y(p.Value))
	}
	if filled {
		fmt.Fprintf(&d, "L%.1f %.1fL%.1f %.1fZ", x(s.Points[len(s.Points)-1].At), y(0), x(s.Points[0].At), y(0))
		fmt.Fprintf(&c.b, `<path d="%s" fill="%s" stroke="none"/>`+"\n", d.String(), s.Colour)
		return
	}
	fmt.Fprintf(&c.b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", d.String(), s.Colour)
}

// times writes the axis of time.
func (c *Canvas) times(in Box, lasts float64) {
	step := 30.0
	for lasts/step > 8 {
		step *= 2
	}
	for at := 0.0; at <= lasts; at += step {
		c.write(in.X+in.W*at/lasts, in.Y+in.H+14, 10, faint, "middle", fmt.Sprintf("%d:%02d", int(at)/60, int(at)%60))
	}
}

// nice rounds the top of an axis up.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 4, 5, 8, 10} {
		if v <= n*unit {
			return n * unit
		}
	}
	return v
}

// State is what something was from a moment to another.
type State struct {
	From, To     float64
	Name, Colour string
}

// Lane is what one thing was, over time.
type Lane struct {
	Name   string
	States []State
}

// Timeline draws what things were, over time.
func (c *Canvas) Timeline(b Box, title string, lasts float64, lanes []Lane) {
	in := c.frame(b, title)
	in.X, in.W, in.H = in.X+96, in.W-100, in.H-16
	height := in.H / float64(max(1, len(lanes)))
	for i, lane := range lanes {
		y := in.Y + float64(i)*height
		c.write(in.X-8, y+height/2+4, 11, text, "end", lane.Name)
		for _, s := range lane.States {
			x, w := in.X+in.W*s.From/lasts, in.W*(s.To-s.From)/lasts
			c.rect(x, y+3, w, height-6, Hex(s.Colour), panel)
			if w > 7*float64(len(s.Name)) {
				c.write(x+w/2, y+height/2+4, 11, "#ffffff", "middle", s.Name)
			}
		}
	}
	c.times(in, lasts)
}
