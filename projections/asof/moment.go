// Package asof gives the fleet as of a moment: it finds the sequence of the log that
// the moment stands for, and folds the log up to there.
package asof

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Moment is a place in the fleet's history. The zero Moment is now: the end of
// the log. A Sequence wins over a Time.
type Moment struct {
	Sequence uint64
	Time     time.Time
}

// IsNow says whether the moment is the end of the log, wherever that is.
func (m Moment) IsNow() bool { return m == Moment{} }

// String is what ParseMoment reads.
func (m Moment) String() string {
	switch {
	case m.Sequence > 0:
		return strconv.FormatUint(m.Sequence, 10)
	case !m.Time.IsZero():
		return m.Time.Format(time.RFC3339Nano)
	}
	return "now"
}

// ErrNoMoment says that a text names no moment.
var ErrNoMoment = errors.New(`is no moment: give a sequence of the log (1234), a time (2026-11-24T14:03:00Z, "2026-11-24 14:03", 14:03), or how long ago (-15m, -2h, -3d)`)

// clocks are the forms of a time that a person writes, in the zone of the given
// now where they name none.
var clocks = []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"}

// ParseMoment reads what a person calls a moment: a sequence, a time (in the zone
// of now where it has none; 14:03 is the last before now), or how long before now
// (-15m, -3d).
// The empty text and "now" are the zero Moment. It fails with ErrNoMoment.
func ParseMoment(s string, now time.Time) (Moment, error) {
	if s == "" || s == "now" {
		return Moment{}, nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > 0 {
		return Moment{Sequence: n}, nil
	}
	if ago, ok := strings.CutPrefix(s, "-"); ok {
		d, err := ParseDuration(ago)
		if err != nil {
			return Moment{}, fmt.Errorf("%q %w", s, ErrNoMoment)
		}
		return Moment{Time: now.Add(-d)}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil && !t.IsZero() { // the zero Time would be now
		return Moment{Time: t}, nil
	}
	for _, form := range clocks {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil && !t.IsZero() {
			return Moment{Time: t}, nil
		}
	}
	for _, form := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil {
			return Moment{Time: latest(t, now)}, nil
		}
	}
	return Moment{}, fmt.Errorf("%q %w", s, ErrNoMoment)
}

// latest is the last time before now at which clocks showed t: a person who asks
// at two in the morning for 23:50 means last night.
func latest(t, now time.Time) time.Time {
	y, m, d := now.Date()
	at := func(day int) time.Time {
		return time.Date(y, m, day, t.Hour(), t.Minute(), t.Second(), 0, now.Location())
	}
	if today := at(d); !today.After(now) {
		return today
	}
	return at(d - 1)
}

// ParseDuration reads a duration as Go writes it, and whole days as 3d. It fails
// on what is negative.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration such as 15m, 2h or 3d", s)
	}
	return d, nil
}
