package render

import (
	"fmt"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/timeline"
)

// ANSI colours: what went well, what did not, what is odd, what matters less.
const (
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	dim    = "\x1b[2m"
	plain  = "\x1b[0m"
)

// foreignType is shown in place of a type.
const foreignType = "foreign"

// TimeLayout is how a person reads a moment, in this machine's zone.
const TimeLayout = "2006-01-02 15:04:05"

// minLateness is how late the log must learn of something for it to be said.
const minLateness = 2 * time.Second

// EventLine is one event for people: when the log learned of it, its place, its
// type, what it is about, the summary.
func EventLine(e eventlog.Event, foreign error, color bool) string {
	return formatEvent(e, foreign, e.Recorded, "", color)
}

// eventTimeLine is EventLine with the time at which it happened, and with how much
// later the log learned of it, where that is late.
func eventTimeLine(e eventlog.Event, foreign error, color bool) string {
	at, note := e.EventTime(), ""
	if late := e.Recorded.Sub(at); late >= minLateness {
		note = fmt.Sprintf("[%v late]", late.Round(time.Second))
	}
	return formatEvent(e, foreign, at, note, color)
}

func formatEvent(e eventlog.Event, foreign error, at time.Time, note string, color bool) string {
	paint := func(c, s string) string {
		if !color || c == "" {
			return s
		}
		return c + s + plain
	}
	kind, hue := string(e.Type), hueOf(e)
	summary := timeline.Summary(e, time.Local)
	if foreign != nil {
		kind, hue = foreignType, yellow
		summary = strings.TrimPrefix(foreign.Error(), eventlog.ErrForeign.Error()+": ")
	}
	line := fmt.Sprintf("%s  %6d  %s  %s",
		paint(dim, at.Local().Format(TimeLayout+".000")), e.Sequence,
		paint(hue, fmt.Sprintf("%-21s", kind)), About(e))
	if summary != "" {
		line += "  " + Printable(summary)
	}
	if note != "" {
		line += "  " + paint(yellow, note)
	}
	return line
}

// About names the aggregate as a person would.
func About(e eventlog.Event) string {
	a := e.Address
	switch {
	case a.Family == "":
		return Printable(e.Subject)
	case a.Device != "" && a.Deployment != "" && e.Namespace != "":
		return a.Device + " " + e.Namespace + "/" + a.Deployment
	case a.Device != "" && a.Deployment != "":
		return a.Device + " " + a.Deployment
	case a.Device != "":
		return a.Device
	case a.Family == eventlog.FamilyBudget:
		return a.Name
	case a.Name != "":
		return a.Namespace + "/" + a.Name
	}
	return string(a.Family)
}

func hueOf(e eventlog.Event) string {
	return map[timeline.Tone]string{timeline.Well: green, timeline.Wrong: red, timeline.Odd: yellow}[timeline.ToneOf(e)]
}
