package attention

import (
	"maps"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// HabitSpan is how far back it is worth looking for habits.
const HabitSpan = 30 * 24 * time.Hour

// Habits learns for how long devices are away and come back by themselves, out of the
// events on HabitSubjects. The zero Habits is not usable: call NewHabits.
type Habits struct {
	away    map[string]time.Time // since when
	longest map[string]time.Duration
}

// NewHabits knows no habit yet.
func NewHabits() *Habits {
	return &Habits{away: map[string]time.Time{}, longest: map[string]time.Duration{}}
}

// HabitSubjects matches the events that Add learns from.
func HabitSubjects() []string { return []string{eventlog.FamilySubjects(eventlog.FamilyDevice)} }

// Add learns from an event, by the log's order. What it does not know it passes over.
func (h *Habits) Add(e eventlog.Event) {
	id := e.Address.Device
	switch e.Type {
	case eventlog.DeviceOffline:
		if _, away := h.away[id]; away {
			return // another verdict on the same absence
		}
		p, err := eventlog.Payload[eventlog.Presence](e)
		if err != nil {
			return
		}
		h.away[id] = gone(fleet.Presence{LastSeen: p.LastSeen, Since: e.Recorded})
	case eventlog.DeviceOnline:
		if since, away := h.away[id]; away {
			h.longest[id] = max(h.longest[id], e.Recorded.Sub(since))
			delete(h.away, id)
		}
	case eventlog.DeviceDecommissioned:
		delete(h.away, id)
		delete(h.longest, id)
	}
}

// Longest has for each device that came back the longest time that it was away, as
// Facts.Habits takes it.
func (h *Habits) Longest() map[string]time.Duration { return maps.Clone(h.longest) }

// gone is since when a device is away: its last pulse, or the verdict where that is not
// known, or is later.
func gone(p fleet.Presence) time.Time {
	if !p.LastSeen.IsZero() && p.LastSeen.Before(p.Since) {
		return p.LastSeen
	}
	return p.Since
}
