package replay

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// Screen draws a player.
type Screen struct {
	Width, Height int
	Palette       Palette
	Zone          *time.Location
	// Line is one event for people, in one line.
	Line func(Frame) string
	// Note is a message to the person, beside the clock.
	Note string
	Help bool
}

// Draw gives the screen's text: exactly Height lines, none wider than Width. Where
// there is no room for all, the clock stays the longest, then the cells, then the
// events.
func (c Screen) Draw(p *Player) string {
	lines := c.lines(p)
	for len(lines) < c.Height {
		lines = append(lines, "")
	}
	lines = lines[:max(0, c.Height)]
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, c.Width, "")
	}
	return strings.Join(lines, "\n")
}

// layout is how many lines each part of the screen gets.
type layout struct {
	scrub, legend, hints bool
	rollouts, cells      int
	tail                 int
}

const minTail = 3

func (c Screen) layout(p *Player, rollouts int) layout {
	l := layout{scrub: c.Height >= 6, legend: c.Height >= 8, hints: c.Height >= 10}
	left := c.Height - 1
	for _, b := range []bool{l.scrub, l.legend, l.hints} {
		if b {
			left--
		}
	}
	left = max(left, 0)
	if c.Height >= 5 {
		l.rollouts = min(rollouts, max(1, left/4))
	}
	left -= l.rollouts
	l.cells = min(c.cellRows(p, left), max(min(left, 1), left-minTail))
	l.tail = left - l.cells
	return l
}

func (c Screen) lines(p *Player) []string {
	out := []string{c.clock(p)}
	if c.Help {
		return append(out, c.help(p)...)
	}
	rollouts := p.rollouts()
	l := c.layout(p, len(rollouts))
	if l.scrub {
		out = append(out, c.scrub(p))
	}
	out = append(out, c.bars(rollouts, l.rollouts)...)
	if l.legend {
		out = append(out, c.legend(p, l.cells))
	}
	out = append(out, c.cells(p, l.cells)...)
	tail := c.tail(p, l.tail)
	for len(tail) < l.tail {
		tail = append(tail, "")
	}
	out = append(out, tail...)
	if l.hints {
		out = append(out, c.hints())
	}
	return out
}

// clock is the line that is always there: what the player does, when in history
// it is, and where in the log.
func (c Screen) clock(p *Player) string {
	does := "playing " + p.speed.String()
	switch {
	case p.Busy():
		does = "seeking"
		if p.aim.kind != aimNext && p.aim.sequence > 0 {
			does = fmt.Sprintf("seeking %d", p.aim.sequence)
		}
	case p.Ended():
		does = "the end"
	case p.paused:
		does = "paused " + p.speed.String()
	}
	line := c.Palette.Strong.Render(does) + "  " + c.when(p.clock, "2006-01-02 15:04:05") +
		fmt.Sprintf("  event %d of %d", p.at, p.span.Last)
	if c.Width < ansi.StringWidth(line) {
		line = c.Palette.Strong.Render(does) + " " + c.when(p.clock, "15:04:05") + fmt.Sprintf(" %d/%d", p.at, p.span.Last)
	}
	if c.Note != "" {
		line += "  " + c.Palette.Note.Render(c.Note)
	}
	return line
}

func (c Screen) when(t time.Time, form string) string {
	if t.IsZero() {
		return strings.Repeat("-", len(form))
	}
	return t.In(c.zone()).Format(form)
}

func (c Screen) zone() *time.Location {
	if c.Zone == nil {
		return time.UTC
	}
	return c.Zone
}

// scrub shows where in the log the player is, and where rollouts begin.
func (c Screen) scrub(p *Player) string {
	width := c.Width - len("[] 100%")
	if width < 1 {
		return ""
	}
	column := func(sequence uint64) int {
		span := p.span.Last - p.span.First
		if span == 0 || sequence <= p.span.First {
			return 0
		}
		return int(float64(min(sequence, p.span.Last)-p.span.First) / float64(span) * float64(width-1))
	}
	bar := make([]byte, width)
	here := column(p.at)
	for i := range bar {
		bar[i] = '-'
		if i < here {
			bar[i] = '='
		}
	}
	for _, m := range p.marks {
		bar[column(m)] = '|'
	}
	bar[here] = '>'
	share := 100.0
	if p.span.Last > p.span.First {
		share = 100 * float64(p.at-p.span.First) / float64(p.span.Last-p.span.First)
	}
	return c.Palette.Dim.Render("["+string(bar[:here])) + c.Palette.Strong.Render(">") +
		c.Palette.Dim.Render(string(bar[here+1:])+"]") + fmt.Sprintf(" %3.0f%%", share)
}

// tail is what was seen last, the newest at the bottom, with the gaps that were
// skipped.
func (c Screen) tail(p *Player, n int) []string {
	var up []string // newest first
	for i := len(p.tail) - 1; i >= 0 && len(up) < n; i-- {
		up = append(up, c.Line(p.tail[i]))
		if i == 0 || len(up) == n {
			break
		}
		if gap := p.tail[i].Recorded.Sub(p.tail[i-1].Recorded); gap > p.speed.MaxGap() {
			up = append(up, c.Palette.Dim.Render(gapText(gap)))
		}
	}
	for i, j := 0, len(up)-1; i < j; i, j = i+1, j-1 {
		up[i], up[j] = up[j], up[i]
	}
	return up
}

// gapText tells how long there was no event.
func gapText(d time.Duration) string {
	switch {
	case d < time.Minute:
		d = d.Round(time.Second)
	case d < 48*time.Hour:
		d = d.Round(time.Minute)
		s := strings.TrimSuffix(d.String(), "0s")
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		return "… " + s + " without events"
	default:
		return fmt.Sprintf("… %dd without events", int(d.Round(24*time.Hour)/(24*time.Hour)))
	}
	return "… " + d.String() + " without events"
}

func (c Screen) hints() string {
	all := "space pause  ←/→ event  shift+←/→ rollout  Home/End  +/- speed  ? help  q quit"
	if ansi.StringWidth(all) > c.Width {
		all = "space  ←/→  shift+←/→  +/-  ? help  q quit"
	}
	return c.Palette.Dim.Render(all)
}

func (c Screen) help(p *Player) []string {
	lines := []string{
		"",
		"space          play, or pause",
		"→  l  ←  h     one event forth, or back",
		"shift+→  n     to where the next rollout begins",
		"shift+←  p     to where the last one began",
		"Home  g        to the beginning",
		"End  G         to the end",
		"+  -           faster, slower; after the fastest comes max",
		"?  Esc         this help",
		"q  Ctrl-C      quit",
		"",
	}
	for s := states; s > 0; s-- {
		s := s - 1
		lines = append(lines, c.Palette.State[s].Render(string(s.Letter()))+"  "+stateMeanings[s])
	}
	if !p.marked {
		lines = append(lines, "", "Still looking for rollouts.")
	}
	return lines
}

var stateMeanings = [states]string{
	StateIdle:    "idle: nothing is assigned to the device",
	StateRunning: "running: all that is assigned to it succeeded",
	StatePending: "pending: something is neither running nor failed yet",
	StateOffline: "offline: no pulse comes from it",
	StateRevoked: "revoked: it may not connect",
	StateFailed:  "failed: something on it failed",
}
