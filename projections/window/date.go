package window

import "time"

// date is a day of the calendar.
type date struct {
	year       int
	month, day int
}

func dateOf(year, month, day int) date {
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC) // which brings day 32 into the next month
	return date{t.Year(), int(t.Month()), t.Day()}
}

// civil gives the date and the minute of the day of a moment in a zone.
func civil(t time.Time, zone *time.Location) (d date, minute int) {
	t = t.In(zone)
	y, m, day := t.Date()
	return date{y, int(m), day}, 60*t.Hour() + t.Minute()
}

func (d date) add(days int) date { return dateOf(d.year, d.month, d.day+days) }

func (d date) before(o date) bool {
	return d.year < o.year || d.year == o.year && (d.month < o.month || d.month == o.month && d.day < o.day)
}

func (d date) weekday() time.Weekday {
	return time.Date(d.year, time.Month(d.month), d.day, 0, 0, 0, 0, time.UTC).Weekday()
}

// at gives the moment of a minute of the day in a zone: the first one where a change of
// clocks has it twice, and where it has none the next minute that there is, which is the
// moment of the change.
func (d date) at(minute int, zone *time.Location) time.Time {
	civil := time.Date(d.year, time.Month(d.month), d.day, minute/60, minute%60, 0, 0, time.UTC)
	before, after := offset(civil.Add(-26*time.Hour), zone), offset(civil.Add(26*time.Hour), zone)
	for _, o := range [2]time.Duration{max(before, after), min(before, after)} { // the larger offset is the earlier moment
		if at := civil.Add(-o); offset(at, zone) == o {
			return at
		}
	}
	if before == after { // the clocks changed twice within two days
		return time.Date(d.year, time.Month(d.month), d.day, minute/60, minute%60, 0, 0, zone).UTC()
	}
	change, _ := civil.Add(-before).In(zone).ZoneBounds()
	return change.UTC()
}

func offset(t time.Time, zone *time.Location) time.Duration {
	_, seconds := t.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}
