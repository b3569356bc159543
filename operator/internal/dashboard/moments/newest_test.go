package moments

import (
	"testing"

	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
)

// Whatever was dropped: the newest events either know all that a look at each event of the log
// finds, or say that they do not.
func TestTheNewestEventsKnowTheEventsAroundAMomentOrSaySo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := newest{keep: rapid.IntRange(1, 8).Draw(t, "keep")}
		first := rapid.Uint64Range(1, 5).Draw(t, "first")
		var log []eventlog.Event
		for i, device := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 40).Draw(t, "devices") {
			e := eventlog.Event{Sequence: first + uint64(i), Subject: eventlog.DeviceSubject(device)}
			log = append(log, e)
			n.add(&e)
		}
		at := rapid.Uint64Range(0, 50).Draw(t, "at")
		subjects := []string{eventlog.DeviceSubject("a"), eventlog.DeviceSubject(rapid.SampledFrom([]string{"b", eventlog.Wildcard, "nobody"}).Draw(t, "device"))}
		var want Neighbours
		kept := 0
		for i, e := range log {
			switch {
			case !coversAny(subjects, e.Subject):
			case e.Sequence <= at:
				want.Before, want.Current = want.Current, e.Sequence
				if i >= len(log)-n.keep {
					kept++
				}
			case want.After == 0:
				want.After = e.Sequence
			}
		}
		got, ok := n.around(at, subjects)
		within := len(log) > 0 && at <= log[len(log)-1].Sequence
		if ok && got != want {
			t.Fatalf("around %d: %+v, want %+v", at, got, want)
		}
		if !ok && within && kept >= 2 {
			t.Fatalf("around %d two of the last %d events are on the subjects, and are not found", at, n.keep)
		}
		if ok && !within {
			t.Fatalf("around %d, which is not in the log: %+v", at, got)
		}
	})
}
