package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/projections/rollout"
)

// clocks compares this machine's clock, the operator's and the other servers' with that of the
// server which leads the log: it says when each event was recorded. Devices' clocks are compared
// with the times at which the servers recorded their pulses.
func clocks(f Facts, r *report) {
	const remedy = "have it synchronised by NTP, and look at its time zone and at its clock's battery"
	if s := f.Server; s != nil {
		off := max(0, s.Ahead.Abs()-s.Blur)
		judgeClock(r, off, s.Ahead > 0, "the NATS server's clock", "this machine's", remedy)
		servers(f, r)
	}
	if o := f.Operator; o != nil && o.Known {
		off := o.Ahead
		if off < 0 {
			off = max(0, -off-appendPatience)
		}
		judgeClock(r, off, o.Ahead > 0, "the operator's clock", "the NATS server's", remedy)
	}
	if p := f.Pulses; p != nil && len(p.Ahead) > 0 {
		worst := p.Ahead[0]
		status := Warning
		if worst.Ahead.Abs() > skewFailure {
			status = Failed
		}
		r.add(status, fmt.Sprintf("the %s of %s off, the worst that of %s, by %s: tokens and certificates are refused on such a device, and times of its reports are wrong",
			rollout.Verb(len(p.Ahead), "clock", "clocks"), phrase.Number(len(p.Ahead), "device is", "devices are"), worst.Device, span(worst.Ahead.Abs())), remedy)
	}
	if f.Server == nil || !f.Server.Timed {
		return
	}
	known := f.clocks()
	compared := []string{"this machine", phrase.Number(max(1, len(known)), "NATS server", "NATS servers")}
	if o := f.Operator; o != nil && o.Known {
		compared = append(compared, "the operator")
	}
	if p := f.Pulses; p != nil && p.Heard > 0 {
		compared = append(compared, "the devices")
	}
	last := len(compared) - 1
	r.well("those of %s and of %s agree within %s", strings.Join(compared[:last], ", of "), compared[last], span(skewWarning))
	if unasked := unasked(f.Server.Names, known); len(unasked) > 0 {
		r.add(LeftOut, fmt.Sprintf("the time of NATS %s %s is not known: user %q hears that of the server to which it is connected and of those that lead a stream. Ask as a user of account %s, or give --kubeconfig where they run in Kubernetes",
			rollout.Verb(len(unasked), "server", "servers"), strings.Join(unasked, ", "), f.Server.User, eventlog.AccountSystem), "")
	}
}

// servers compares the clocks of the servers with each other.
func servers(f Facts, r *report) {
	s := f.Server
	for _, c := range f.clocks() {
		if !s.Timed || c.Server == s.Timekeeper {
			continue
		}
		apart := c.Ahead - s.Ahead
		judgeClock(r, max(0, apart.Abs()-c.Blur-s.Blur), apart > 0, "the clock of NATS server "+c.Server, "that of "+s.Timekeeper+", by which events are recorded,",
			"have both synchronised by NTP: another server that leads the log records events by another time")
	}
}

// unasked are the servers of which no clock is known.
func unasked(names []string, known []Clock) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(known, func(c Clock) bool { return c.Server == name })
	})
}

func judgeClock(r *report, off time.Duration, ahead bool, what, of, remedy string) {
	way := "behind"
	if ahead {
		way = "ahead of"
	}
	switch {
	case off > skewFailure:
		r.fail(remedy, "%s is %s %s by %s", what, way, of, span(off))
	case off > skewWarning:
		r.warn(remedy, "%s is %s %s by %s", what, way, of, span(off))
	}
}
