package render

import (
	"fmt"
	"strconv"
	"strings"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/projections/explain"
)

// maxElsewhere is how many of the Deployments that do not match a device are
// listed for people.
const maxElsewhere = 8

// Explanation writes why a device is in its state.
func Explanation(s cli.Streams, e *explain.Explanation) {
	p := textWriter{s}
	about := e.Device
	if e.Deployment != "" {
		about += ", " + strings.TrimPrefix(e.Namespace+"/"+e.Deployment, "/")
	}
	p.line(about + ": " + p.paint(stateHue(e.State), string(e.State)) + Printable(prefixed(", ", e.Reason, "")))
	width := len("  15:04:05  #") + len(strconv.FormatUint(max(e.At.Sequence, e.Summary.Sequence), 10)) + 2
	day := e.At.Recorded.Local().Format("2006-01-02")
	say := func(s explain.Sentence) {
		at := s.Time.Local().Format("15:04:05")
		if d := s.Time.Local().Format("2006-01-02"); d != day {
			p.line("  " + p.paint(dim, d))
			day = d
		}
		text := s.Text
		if s.Because > 0 {
			text += fmt.Sprintf(" (because of #%d)", s.Because)
		}
		head := fmt.Sprintf("%-*s", width, fmt.Sprintf("  %s  #%d", at, s.Sequence))
		p.hang(p.paint(dim, head), width, oneLine(text, 600), "")
	}
	p.hang("  ", 2, cited(e.Summary), "")
	p.line("")
	p.line("Why")
	for _, s := range e.Chain {
		say(s)
	}
	p.standings("Deployments", e.Deployments)
	p.standings("Not here", e.Elsewhere[:min(len(e.Elsewhere), maxElsewhere)])
	if more := len(e.Elsewhere) - maxElsewhere; more > 0 {
		p.line(fmt.Sprintf("  and %d more that do not match; -o json has them", more))
	}
	if len(e.Next) > 0 {
		p.line("")
		p.line("What comes next")
		for _, s := range e.Next {
			p.hang("  - ", 4, cited(s), "")
		}
	}
}

// cited is a sentence with the event that proves it behind it.
func cited(s explain.Sentence) string { return fmt.Sprintf("%s (#%d)", s.Text, s.Sequence) }

// standings lists Deployments on a device, a few lines each.
func (p textWriter) standings(title string, all []explain.Standing) {
	if len(all) == 0 {
		return
	}
	p.line("")
	p.line(title)
	for _, s := range all {
		name := strings.TrimPrefix(s.Namespace+"/"+s.Deployment, "/")
		p.line("  " + name + ": " + p.paint(stateHue(s.State), string(s.State)) + Printable(prefixed(", ", s.Reason, "")))
		p.hang("    ", 4, cited(s.Summary), "")
	}
}

func stateHue(s explain.State) string {
	switch s {
	case explain.StateRunning, explain.StateOnline:
		return green
	case explain.StateFailed, explain.StateOffline, explain.StateAccessRevoked, explain.StateCutOff, explain.StateNameConflict:
		return red
	case explain.StatePending, explain.StateNotMatched, explain.StateEnded:
		return ""
	}
	return yellow
}
