// Package rollout is the pure core of rollouts: how a run is planned and judged, what a
// device should have now, and what it waits for. The operator decides by it, and every
// command that explains uses the same functions.
package rollout

import (
	"math"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/window"
)

// Defaults of spec.rollout. They are filled in here and never stored in an object, so
// that they can be changed.
const (
	DefaultStrategy         = eventlog.StrategyBatched
	DefaultSoak             = 5 * time.Minute
	DefaultLastSoak         = time.Minute
	DefaultThreshold        = 95 // percent
	DefaultProgressDeadline = 10 * time.Minute
)

// DefaultMaxUnavailable is how many devices may be unavailable through a rollout at a
// time where the spec does not say it.
var DefaultMaxUnavailable = eventlog.Amount{N: 10, Percent: true}

// Patience is how long a device may report Failed before that is believed: an agent
// retries, and a registry's hiccup or a restart of Podman is reported as Failed too.
const Patience = time.Minute

// Settings is spec.rollout with all defaults filled in.
type Settings struct {
	Strategy       string
	Batches        []Batch
	Threshold      int // percent of a batch's devices that must not be bad
	MaxUnavailable eventlog.Amount
	Deadline       time.Duration // of each device, from its assignment
	WaitOffline    bool          // a batch is not judged while a member is offline
	OnFailure      string
	Paused         bool
	DependsOn      []string
	Windows        window.Windows
	Rate           *eventlog.Rate

	// Shape is what a plan depends on. Where it differs from that of a run which is on
	// its way, the run is planned again.
	Shape string

	saysBatches bool // the author wrote them
}

// Batch is one batch of a rollout.
type Batch struct {
	Size     *eventlog.Amount   // cumulative; nil in one by selector, and in the last: the rest
	Selector *eventlog.Selector // pins: the devices that it selects
	Soak     time.Duration
	Manual   bool // a person lets the run go on after it
	FourEyes bool
	Gates    []Gate
}

// Fill fills the defaults in.
func Fill(s eventlog.RolloutSettings) Settings {
	f := Settings{
		Strategy: s.Strategy, Threshold: DefaultThreshold, MaxUnavailable: DefaultMaxUnavailable, Deadline: DefaultProgressDeadline,
		WaitOffline: s.OfflineDevices == eventlog.OfflineWait, OnFailure: s.OnFailure, Paused: s.Paused, DependsOn: s.DependsOn, Rate: s.Rate,
		saysBatches: len(s.Batches) > 0, Shape: shape(s),
	}
	var err error
	if f.Windows, err = window.ParseAll(s.Windows); err != nil {
		f.Windows = window.Windows{window.Never()} // what nobody can read lets nothing through
	}
	if f.Strategy == "" {
		f.Strategy = DefaultStrategy
	}
	if f.OnFailure == "" {
		f.OnFailure = eventlog.OnFailurePause
	}
	if s.SuccessThreshold != nil {
		f.Threshold = min(s.SuccessThreshold.N, 100)
	}
	if s.MaxUnavailable != nil && s.MaxUnavailable.N > 0 {
		f.MaxUnavailable = *s.MaxUnavailable
	}
	if s.ProgressDeadline != nil {
		f.Deadline = time.Duration(*s.ProgressDeadline)
	}
	if f.Strategy == eventlog.StrategyImmediate {
		f.Batches = []Batch{{}}
		return f
	}
	said := s.Batches
	if len(said) == 0 {
		said = []eventlog.BatchSettings{{Size: percent(1)}, {Size: percent(10)}, {}}
	}
	if last := said[len(said)-1]; last.Size != nil || last.Selector != nil {
		said = append(said[:len(said):len(said)], eventlog.BatchSettings{})
	}
	for i, b := range said {
		soak := DefaultSoak
		if i == len(said)-1 {
			soak = DefaultLastSoak
		}
		if b.Soak != nil {
			soak = time.Duration(*b.Soak)
		}
		f.Batches = append(f.Batches, Batch{
			Size: b.Size, Selector: b.Selector, Soak: soak, Manual: b.Approval == eventlog.ApprovalManual, FourEyes: b.FourEyes, Gates: fillGates(b.Gates),
		})
	}
	return f
}

func percent(n int) *eventlog.Amount { return &eventlog.Amount{N: n, Percent: true} }

// shape is what a plan depends on: strategy, sizes and selectors as the author wrote
// them, so that what is derived (a first revision is one batch) or filled in never
// counts as a change.
func shape(s eventlog.RolloutSettings) string {
	parts := []string{s.Strategy}
	for _, b := range s.Batches {
		switch {
		case b.Selector != nil:
			parts = append(parts, "{"+selectors.SelectorText(*b.Selector)+"}")
		case b.Size != nil:
			parts = append(parts, b.Size.String())
		default:
			parts = append(parts, "rest")
		}
	}
	return strings.Join(parts, " ")
}

// First says whether a run of a Deployment is its first revision without batches: it is
// one batch without a soak, for there is nothing that it could break.
func (s *Settings) First(d *fleet.Deployment) bool {
	return !s.saysBatches && d.Stable.Content == "" && d.Counts.Matched == 0
}

// Batch gives the settings of a run's batch, from 1.
func (s *Settings) Batch(run *fleet.Run, n int) Batch {
	if Immediate(run) || len(run.Batches) == 1 && !s.saysBatches {
		return Batch{}
	}
	return s.Batches[min(max(n, 1), len(s.Batches))-1]
}

// Allowed is how many of n devices of a batch may be bad.
func (s *Settings) Allowed(n int) int { return n * (100 - s.Threshold) / 100 }

// MostUnavailable is how many of the devices that match may be unavailable at a time.
func (s *Settings) MostUnavailable(matched int) int { return max(1, s.MaxUnavailable.Of(matched)) }

// Hours tells how the windows are for a run at a moment.
func (s *Settings) Hours(run *fleet.Run, at time.Time) window.State {
	if !run.Paced() {
		return window.State{Open: true}
	}
	return s.Windows.At(at)
}

// Pace gives how many devices a run may give something to at a moment, and, where that is
// none, when it may again. A run without a rate may give it to all.
func (s *Settings) Pace(run *fleet.Run, at time.Time) (most int, again time.Time) {
	switch {
	case s.Rate == nil || !run.Paced():
		return math.MaxInt, time.Time{}
	case at.Before(run.Next):
		return 0, run.Next
	}
	return s.Rate.Burst(run.Succeeded), time.Time{}
}
