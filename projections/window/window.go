// Package window says whether a moment is in a maintenance window: a cron schedule in
// the civil time of a place, and how long the window is open after each start. Pure.
package window

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // devices' and operators' images often have no time zones

	"github.com/robfig/cron/v3"

	"fleet.nationtech.io/eventlog"
)

// Bounds of a window.
const (
	MinDuration = time.Minute
	MaxDuration = 7 * 24 * time.Hour
)

// Window is one window, which can be asked about any moment. A start that a change of
// clocks skips is at the next minute that there is; one that comes twice counts once, the
// first time.
type Window struct {
	minute, hour, day, month, weekday uint64 // a bit for each value that starts it
	anyDay                            bool   // day or weekday is a star: a date has to fit both
	zone                              *time.Location
	length                            time.Duration
	text                              string
}

// Parse reads a window. It fails with a sentence about the field that is wrong.
func Parse(w eventlog.Window) (Window, error) {
	if strings.Contains(w.Schedule, "TZ=") {
		return Window{}, errors.New("schedule has a time zone in it: write that in timeZone")
	}
	if strings.HasPrefix(strings.TrimSpace(w.Schedule), "@every") {
		return Window{}, errors.New("schedule @every has no place in a calendar: write the minutes and hours, such as \"0 */6 * * *\"")
	}
	parsed, err := cron.ParseStandard(w.Schedule)
	if err != nil {
		return Window{}, fmt.Errorf("schedule %q is no cron expression of five fields (minute hour day month weekday): %s", w.Schedule, strings.TrimPrefix(err.Error(), "cron: "))
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Window{}, fmt.Errorf("schedule %q is no cron expression of five fields (minute hour day month weekday)", w.Schedule)
	}
	zone, err := zoneOf(w.TimeZone)
	if err != nil {
		return Window{}, err
	}
	length := time.Duration(w.Duration)
	if length < MinDuration || length > MaxDuration {
		return Window{}, fmt.Errorf("duration %s is out of bounds: write one from %s to %s, such as \"4h\"", length, "1m", "168h")
	}
	const star = 1 << 63
	p := Window{
		minute: spec.Minute, hour: spec.Hour, day: spec.Dom, month: spec.Month, weekday: spec.Dow,
		anyDay: spec.Dom&star > 0 || spec.Dow&star > 0, zone: zone, length: length, text: textOf(w),
	}
	if !p.everStarts() {
		return Window{}, fmt.Errorf("schedule %q names a date that no year has: the window would never open", w.Schedule)
	}
	return p, nil
}

// Never is a window that does not open.
func Never() Window { return Window{zone: time.UTC, text: "never"} }

func zoneOf(name string) (*time.Location, error) {
	switch name {
	case "":
		return time.UTC, nil
	case "Local":
		return nil, errors.New("timeZone \"Local\" is another one on each machine: name one, such as \"Europe/Paris\"")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("timeZone %q is not known: write a name of the IANA database, such as \"Europe/Paris\" or \"UTC\"", name)
	}
	return zone, nil
}

func textOf(w eventlog.Window) string {
	zone := w.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	return fmt.Sprintf("%q in %s for %s", w.Schedule, zone, time.Duration(w.Duration))
}

// String tells schedule, time zone and duration.
func (w Window) String() string { return w.text }

// everStarts says whether any year has a date of the schedule.
func (w Window) everStarts() bool {
	for d := dateOf(2000, 1, 1); d.year < 2000+leapCycle; d = d.add(1) {
		if w.startsOn(d) {
			return true
		}
	}
	return false
}

// leapCycle is how many years may lie between two 29ths of February.
const leapCycle = 8

// startsOn says whether the window starts at some time of a date.
func (w Window) startsOn(d date) bool {
	if w.month&(1<<uint(d.month)) == 0 {
		return false
	}
	day, weekday := w.day&(1<<uint(d.day)) > 0, w.weekday&(1<<uint(d.weekday())) > 0
	if w.anyDay {
		return day && weekday
	}
	return day || weekday
}

// newest gives the newest start at or before a moment that is less than a duration ago;
// the zero time: there is none.
func (w Window) newest(t time.Time, ago time.Duration) time.Time {
	last, minute := civil(t.Add(w.shift(t)), w.zone)
	first, _ := civil(t.Add(-ago-w.shift(t)), w.zone)
	for d := last; !d.before(first); d, minute = d.add(-1), minutesOfDay-1 {
		if !w.startsOn(d) {
			continue
		}
		for m := minute; m >= 0; m-- {
			if !w.startsAt(m) {
				continue
			}
			if at := d.at(m, w.zone); !at.After(t) {
				if t.Sub(at) < ago {
					return at
				}
				return time.Time{}
			}
		}
	}
	return time.Time{}
}

// next gives the first start after a moment.
func (w Window) next(t time.Time) time.Time {
	if w.month == 0 {
		return time.Time{} // never
	}
	first, minute := civil(t.Add(-w.shift(t)), w.zone)
	for d := first; d.year <= first.year+leapCycle+1; d, minute = d.add(1), 0 {
		if !w.startsOn(d) {
			continue
		}
		for m := minute; m < minutesOfDay; m++ {
			if !w.startsAt(m) {
				continue
			}
			if at := d.at(m, w.zone); at.After(t) {
				return at
			}
		}
	}
	return time.Time{}
}

const minutesOfDay = 24 * 60

func (w Window) startsAt(minute int) bool {
	return w.hour&(1<<uint(minute/60)) > 0 && w.minute&(1<<uint(minute%60)) > 0
}

// shift is by how much civil time may run ahead of or behind the order of moments
// around one: a day where the zone's clocks change nearby, else nothing.
func (w Window) shift(t time.Time) time.Duration {
	const near = MaxDuration + 48*time.Hour
	from, until := t.In(w.zone).ZoneBounds()
	if (from.IsZero() || t.Sub(from) > near) && (until.IsZero() || until.Sub(t) > near) {
		return 0
	}
	return 24 * time.Hour
}
