package render

import (
	"cmp"
	"fmt"
	"time"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/timeline"
)

// Agent is what a device's agent said of itself with its newest pulse.
type Agent struct {
	Device  string    `json:"device"`
	Version string    `json:"version,omitempty"` // as the log has it
	Heard   time.Time `json:"heard"`             // when the servers got the pulse
	// Ahead is how far the device's clock was ahead of the servers' then, in seconds. How long
	// the pulse was on its way makes the clock seem behind.
	Ahead float64 `json:"clock_ahead_seconds"`
	// Figures is missing of an agent before 0.2.
	Figures *Figures `json:"figures,omitempty"`

	Now time.Time `json:"-"`
}

// Figures are what the agent alone knows of itself.
type Figures struct {
	EngineAnswers bool      `json:"engine_answers"`
	Observe       float64   `json:"observe_seconds"` // to list its containers, on average between two pulses
	Waiting       uint64    `json:"waiting_events"`  // of the journal, for the log
	Troubles      []Trouble `json:"troubles"`        // that it had since it was started
}

// Trouble is what went wrong for the agent, and how often.
type Trouble struct {
	Kind  eventlog.Trouble `json:"kind"`
	Count uint64           `json:"count"`
	Means string           `json:"means"`
}

// NewAgent is what a pulse says that the servers got at a time.
func NewAgent(h eventlog.Heartbeat, heard time.Time) Agent {
	a := Agent{Device: h.DeviceID, Heard: heard.UTC(), Ahead: h.At.Sub(heard).Seconds()}
	if h.Agent == nil {
		return a
	}
	a.Figures = &Figures{EngineAnswers: !h.Agent.EngineDown, Observe: float64(h.Agent.Observe) / 1000, Waiting: h.Agent.Waiting, Troubles: []Trouble{}}
	for _, t := range eventlog.Troubles() {
		if n := t.Of(h.Agent); n > 0 {
			a.Figures.Troubles = append(a.Figures.Troubles, Trouble{Kind: t, Count: n, Means: t.Means()})
		}
	}
	return a
}

// wrongClock is how far a clock may be off, in seconds: a pulse takes its time.
const wrongClock = 5

// Text writes it for people.
func (a Agent) Text(s cli.Streams) {
	p := textWriter{s}
	p.line("Device       " + a.Device)
	p.line("Version      " + cmp.Or(Printable(a.Version), "unknown"))
	p.line(fmt.Sprintf("Last pulse   %s, %s ago", local(a.Heard), timeline.SpanText(max(0, a.Now.Sub(a.Heard).Seconds()))))
	clock := "agrees with the servers'"
	switch {
	case a.Ahead > wrongClock:
		clock = "is ahead of the servers' by " + timeline.SpanText(a.Ahead)
	case a.Ahead < -wrongClock:
		clock = "is behind the servers' by " + timeline.SpanText(-a.Ahead)
	}
	p.line("Clock        " + clock)
	f := a.Figures
	if f == nil {
		p.line("Figures      none: an agent before 0.2 sends none")
		return
	}
	engine := "answers"
	if !f.EngineAnswers {
		engine = "does not answer"
	}
	p.line("Engine       " + engine)
	if f.Observe > 0 {
		p.line(fmt.Sprintf("Observe      %s to list its containers", timeline.SpanText(f.Observe)))
	}
	p.line(fmt.Sprintf("Outbox       %s for the log", Plural(f.Waiting, "event waits", "events wait")))
	if len(f.Troubles) == 0 {
		p.line("Troubles     none since the agent was started")
		return
	}
	p.line("Troubles since the agent was started")
	rows := [][]string{{"  KIND", "TIMES", "WHAT"}}
	for _, t := range f.Troubles {
		rows = append(rows, []string{"  " + string(t.Kind), fmt.Sprint(t.Count), t.Means})
	}
	Table(s, rows)
}
