package rollout

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// How gates are asked.
const (
	// DefaultGateFor is for how long a gate must hold where it does not say.
	DefaultGateFor = time.Minute
	// gateEvery is the shortest time between two questions of a gate, and an eighth of what
	// it must hold where that is longer.
	gateEvery = 15 * time.Second
	// After gatePatience answers about a batch a gate is asked each gateSeldom.
	gatePatience = 64
	gateSeldom   = 5 * time.Minute
)

// Gate is a question that must be answered well before a batch succeeds.
type Gate struct {
	Name, Server, Query string
	Max, Min            float64 // infinite where there is no bound
	For                 time.Duration
	Digest              string // of all that
}

// fillGates fills the defaults in.
func fillGates(said []eventlog.Gate) []Gate {
	var gates []Gate
	for _, s := range said {
		g, err := gateOf(s)
		if err != nil {
			g.Max, g.Min = math.Inf(-1), math.Inf(1) // what nobody can read lets nothing through
		}
		gates = append(gates, g)
	}
	return gates
}

// CheckGates says what is wrong with the gates of batches.
func CheckGates(batches []eventlog.BatchSettings) error {
	for i, b := range batches {
		for j, g := range b.Gates {
			if _, err := gateOf(g); err != nil {
				return fmt.Errorf("batches[%d].gates[%d]: %w", i, j, err)
			}
		}
	}
	return nil
}

func gateOf(s eventlog.Gate) (Gate, error) {
	g := Gate{Name: s.Name, Max: math.Inf(1), Min: math.Inf(-1), For: DefaultGateFor}
	b, err := json.Marshal(s)
	if err != nil {
		return g, err
	}
	g.Digest = eventlog.Hash(b)
	p := s.Prometheus
	if p == nil {
		return g, fmt.Errorf("gate %q asks nobody: write prometheus: {server, query, max}", s.Name)
	}
	g.Server, g.Query = p.Server, p.Query
	if p.For != nil {
		g.For = time.Duration(*p.For)
	}
	if p.Max == "" && p.Min == "" {
		return g, fmt.Errorf("gate %q has neither max nor min: no value could be too high or too low", s.Name)
	}
	for _, bound := range []struct {
		text string
		to   *float64
	}{{p.Max, &g.Max}, {p.Min, &g.Min}} {
		if bound.text == "" {
			continue
		}
		n, err := strconv.ParseFloat(bound.text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return g, fmt.Errorf("gate %q: %q is no number, such as \"0.05\"", s.Name, bound.text)
		}
		*bound.to = n
	}
	if g.Min > g.Max {
		return g, fmt.Errorf("gate %q wants at least %s and at most %s: no value is both", s.Name, p.Min, p.Max)
	}
	return g, nil
}

// Verdict says what a value means.
func (g *Gate) Verdict(value float64) string {
	if value >= g.Min && value <= g.Max {
		return eventlog.GatePass
	}
	return eventlog.GateFail
}

// Wants is what a value must be, for people.
func (g *Gate) Wants() string {
	text := func(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }
	switch {
	case math.IsInf(g.Min, -1):
		return "at most " + text(g.Max)
	case math.IsInf(g.Max, 1):
		return "at least " + text(g.Min)
	}
	return text(g.Min) + " to " + text(g.Max)
}

// Every is the time between two questions, once so many were answered.
func (g *Gate) Every(answers int) time.Duration {
	every := max(gateEvery, g.For/8)
	if answers >= gatePatience {
		return max(every, gateSeldom)
	}
	return every
}

// Holds says whether the gate lets its batch go on: all answers of the last For pass, no
// two of them are too far apart, and the last one is not old.
func (g *Gate) Holds(run *fleet.Run, at time.Time) bool {
	s := run.Gate(g.Name, g.Digest)
	return s != nil && s.Passes() && !s.Stale(at) && s.Last.Sub(s.Since) >= g.For
}

// Overdue says whether no answer has passed for a whole deadline, though it was asked.
func (g *Gate) Overdue(run *fleet.Run, deadline time.Duration) bool {
	s := run.Gate(g.Name, g.Digest)
	return s != nil && !s.Passes() && s.Last.Sub(s.Since) >= deadline
}

// Asked gives when the gate is to be asked next; the zero time: at once.
func (g *Gate) Asked(run *fleet.Run) time.Time {
	s := run.Gate(g.Name, g.Digest)
	if s == nil {
		return time.Time{}
	}
	return s.Last.Add(time.Duration(s.Every))
}

// NotHolding gives the first of the gates of the open batch that does not hold; nil: all
// do.
func (s *Settings) NotHolding(run *fleet.Run, at time.Time) *Gate {
	gates := s.Batch(run, run.Batch).Gates
	for i := range gates {
		if !gates[i].Holds(run, at) {
			return &gates[i]
		}
	}
	return nil
}

// Tells says how a gate stands, for people: what it waits for or how it was answered.
func (g *Gate) Tells(run *fleet.Run) string {
	s := run.Gate(g.Name, g.Digest)
	switch {
	case s == nil:
		return fmt.Sprintf("gate %s has yet to be answered by Prometheus server %s", g.Name, g.Server)
	case s.Verdict == eventlog.GateNone:
		return fmt.Sprintf("gate %s has no answer: %s", g.Name, s.Error)
	case s.Passes():
		return fmt.Sprintf("gate %s passes with %s, which has to be so for %s", g.Name, valueText(s.Value), g.For)
	}
	return fmt.Sprintf("gate %s does not let it go on: its value is %s, and has to be %s for %s", g.Name, valueText(s.Value), g.Wants(), g.For)
}

func valueText(v *float64) string {
	if v == nil {
		return "no value"
	}
	return strconv.FormatFloat(*v, 'g', 6, 64)
}
