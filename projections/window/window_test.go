package window_test

import (
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/window"
)

// zones have clocks that change by an hour, by half an hour, at midnight, by a whole day
// (Apia, at the end of 2011), twice a year against Ramadan, and not at all.
var zones = []string{
	"", "UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "Africa/Casablanca", "Asia/Kolkata", "Asia/Beirut",
}

var schedules = []string{
	"0 2 * * *", "30 2 * * *", "30 1 * * *", "0 0 * * *", "15 0 * * *", "*/20 * * * *", "* 2 * * *", "0 3 * * 0", "0 22 * * 1-5", "0 4 1 * *",
	"0 4 1 * 1", "59 23 31 12 *", "0 12 29 2 *", "0 */6 * * *", "5,50 1-3 * 3,10 *", "* * * * *", "@daily", "@hourly",
}

// around are moments near which clocks changed in one of the zones, and some others.
var around = []time.Time{
	time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), time.Date(2025, 3, 9, 7, 0, 0, 0, time.UTC),
	time.Date(2025, 11, 2, 6, 0, 0, 0, time.UTC), time.Date(2011, 12, 30, 10, 0, 0, 0, time.UTC), time.Date(2024, 4, 6, 15, 0, 0, 0, time.UTC),
	time.Date(2018, 11, 4, 3, 0, 0, 0, time.UTC), time.Date(2018, 2, 18, 2, 0, 0, 0, time.UTC), time.Date(2024, 3, 10, 3, 0, 0, 0, time.UTC),
	time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC), time.Date(2022, 3, 26, 22, 0, 0, 0, time.UTC),
}

func draw(t *rapid.T) eventlog.Window {
	length := time.Duration(rapid.SampledFrom([]int{1, 19, 20, 21, 59, 60, 61, 120, 1440, 3000}).Draw(t, "minutes")) * time.Minute
	return eventlog.Window{
		Schedule: rapid.SampledFrom(schedules).Draw(t, "schedule"), TimeZone: rapid.SampledFrom(zones).Draw(t, "zone"), Duration: eventlog.Duration(length),
	}
}

// walked gives all starts of a window up to a moment, by a clock that is walked minute by
// minute.
func walked(t *rapid.T, w eventlog.Window, from, until time.Time) (starts []time.Time) {
	zone, err := time.LoadLocation(w.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := cron.ParseStandard(w.Schedule)
	if err != nil {
		t.Fatal(err)
	}
	spec := parsed.(*cron.SpecSchedule)
	starts, seen := nil, map[time.Time]bool{}
	face := func(at time.Time) time.Time { // what a clock on the wall shows
		at = at.In(zone)
		return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), 0, 0, time.UTC)
	}
	spec.Location = time.UTC // the faces are in no zone
	begins := func(face time.Time) bool { return spec.Next(face.Add(-time.Second)).Equal(face) }
	shows := face(from.Add(-time.Minute))
	for at := from; !at.After(until); at = at.Add(time.Minute) {
		before := shows
		shows = face(at)
		started := false
		for skipped := before.Add(time.Minute); skipped.Before(shows); skipped = skipped.Add(time.Minute) {
			started = started || begins(skipped)
		}
		if started || !seen[shows] && begins(shows) {
			starts = append(starts, at)
		}
		seen[shows] = true
	}
	return starts
}

// Law: windows are open exactly where a clock that is walked minute by minute has passed
// a start less than the duration ago, over each change of clocks.
func TestWindowsAreThoseOfAClockThatIsWalked(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		said := []eventlog.Window{draw(rt)}
		if rapid.Bool().Draw(rt, "two") {
			said = append(said, draw(rt))
		}
		ws, err := window.ParseAll(said)
		if err != nil {
			rt.Fatal(err)
		}
		middle := rapid.SampledFrom(around).Draw(rt, "around")
		from := middle.Add(-30 * time.Hour)
		var starts [][]time.Time
		for _, w := range said {
			starts = append(starts, walked(rt, w, from.Add(-51*time.Hour), middle.Add(30*time.Hour)))
		}
		open := func(at time.Time) bool {
			for i, w := range said {
				for _, s := range starts[i] {
					if !s.After(at) && at.Sub(s) < time.Duration(w.Duration) {
						return true
					}
				}
			}
			return false
		}
		step := time.Duration(rapid.IntRange(1, 37).Draw(rt, "step")) * time.Minute
		for at := from; at.Before(middle.Add(30 * time.Hour)); at = at.Add(step) {
			for _, at := range []time.Time{at, at.Add(59*time.Second + 999)} {
				if got := ws.Open(at); got != open(at) {
					rt.Fatalf("%v at %s: open is %v", said, at, got)
				}
			}
		}
		at := from.Add(time.Duration(rapid.IntRange(0, 59*60).Draw(rt, "at")) * time.Minute)
		edges(rt, ws, at, open, middle.Add(30*time.Hour))
	})
}

// edges holds what is told of a stretch of time against each minute of it.
func edges(rt *rapid.T, ws window.Windows, at time.Time, open func(time.Time) bool, known time.Time) {
	s := ws.At(at)
	if s.Open != open(at) {
		rt.Fatalf("at %s it is told as %+v", at, s)
	}
	if !s.Until.IsZero() && !s.Until.After(at) {
		rt.Fatalf("at %s it changes in the past: %+v", at, s)
	}
	for m := at; m.Before(s.Until) && m.Before(known); m = m.Add(time.Minute) {
		if open(m) != s.Open {
			rt.Fatalf("at %s it changes, and at %s it is told as %+v", m, at, s)
		}
	}
	if !s.Until.IsZero() && s.Until.Before(known) && s.Until.Sub(at) < 24*time.Hour && open(s.Until) == s.Open {
		rt.Fatalf("at %s it does not change, and at %s it is told as %+v", s.Until, at, s)
	}
	if !s.Open {
		return
	}
	for m := s.Since; m.Before(at); m = m.Add(time.Minute) {
		if !open(m) {
			rt.Fatalf("at %s it is closed, and at %s it is told as %+v", m, at, s)
		}
	}
	if at.Sub(s.Since) < 24*time.Hour && open(s.Since.Add(-time.Minute)) {
		rt.Fatalf("it was open before %s, and at %s it is told as %+v", s.Since, at, s)
	}
}

func TestAStartThatAChangeOfClocksSkipsOrRepeats(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		window eventlog.Window
		open   map[string]bool
	}{
		"a start that is skipped is at the next minute that there is": {
			eventlog.Window{Schedule: "30 2 * * *", TimeZone: "Europe/Paris", Duration: eventlog.Duration(time.Hour)},
			map[string]bool{"2026-03-29T00:59:00Z": false, "2026-03-29T01:00:00Z": true, "2026-03-29T01:59:00Z": true, "2026-03-29T02:00:00Z": false},
		},
		"a start that comes twice counts once": {
			eventlog.Window{Schedule: "30 2 * * *", TimeZone: "Europe/Paris", Duration: eventlog.Duration(20 * time.Minute)},
			map[string]bool{"2026-10-25T00:29:00Z": false, "2026-10-25T00:30:00Z": true, "2026-10-25T00:49:59Z": true, "2026-10-25T00:50:00Z": false, "2026-10-25T01:30:00Z": false},
		},
		"a window lasts as long as it says, over a change of clocks too": {
			eventlog.Window{Schedule: "0 22 * * 6", TimeZone: "Europe/Paris", Duration: eventlog.Duration(8 * time.Hour)},
			map[string]bool{"2026-10-24T19:59:00Z": false, "2026-10-24T20:00:00Z": true, "2026-10-25T03:59:00Z": true, "2026-10-25T04:00:00Z": false},
		},
		"a day that a country left out": {
			eventlog.Window{Schedule: "0 12 30 12 *", TimeZone: "Pacific/Apia", Duration: eventlog.Duration(time.Hour)},
			map[string]bool{"2011-12-30T09:59:00Z": false, "2011-12-30T10:00:00Z": true, "2011-12-30T11:00:00Z": false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := window.ParseAll([]eventlog.Window{c.window})
			if err != nil {
				t.Fatal(err)
			}
			for text, want := range c.open {
				at, err := time.Parse(time.RFC3339, text)
				if err != nil {
					t.Fatal(err)
				}
				if got := w.Open(at); got != want {
					t.Errorf("at %s open is %v", text, got)
				}
			}
		})
	}
}

func TestAWindowThatIsWrongIsRefusedWithWhatToWrite(t *testing.T) {
	t.Parallel()
	hour := eventlog.Duration(time.Hour)
	for name, c := range map[string]struct {
		window eventlog.Window
		want   string
	}{
		"words":                  {eventlog.Window{Schedule: "at night", Duration: hour}, "is no cron expression of five fields"},
		"a field too many":       {eventlog.Window{Schedule: "0 0 2 * * *", Duration: hour}, "is no cron expression of five fields"},
		"an hour that is none":   {eventlog.Window{Schedule: "0 24 * * *", Duration: hour}, "is no cron expression of five fields"},
		"a zone in the schedule": {eventlog.Window{Schedule: "TZ=UTC 0 2 * * *", Duration: hour}, "write that in timeZone"},
		"an interval":            {eventlog.Window{Schedule: "@every 5m", Duration: hour}, "@every has no place in a calendar"},
		"a date that never is":   {eventlog.Window{Schedule: "0 2 30 2 *", Duration: hour}, "would never open"},
		"a zone nobody knows":    {eventlog.Window{Schedule: "0 2 * * *", TimeZone: "Europe/Pris", Duration: hour}, "is not known"},
		"the machine's own zone": {eventlog.Window{Schedule: "0 2 * * *", TimeZone: "Local", Duration: hour}, "another one on each machine"},
		"no duration":            {eventlog.Window{Schedule: "0 2 * * *"}, "out of bounds"},
		"a duration too long":    {eventlog.Window{Schedule: "0 2 * * *", Duration: 200 * hour}, "out of bounds"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := window.Parse(c.window); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestNoWindowIsAlwaysOpen(t *testing.T) {
	t.Parallel()
	if s := (window.Windows{}).At(time.Now()); !s.Open || !s.Until.IsZero() || !s.Since.IsZero() {
		t.Fatalf("%+v", s)
	}
}
