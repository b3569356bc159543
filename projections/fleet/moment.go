package fleet

import (
	"math"
	"time"
)

// Moment is a time as a pair keeps it: in the 8 bytes of its nanoseconds since 1970 and
// not in the 24 of a time.Time, for a fleet has a hundred thousand pairs with six times
// each. 0 is no time. What lies outside of the years 1678 to 2262, as a device's clock
// can say it, is the nearest moment within.
type Moment int64

// MomentOf gives the moment of a time.
func MomentOf(t time.Time) Moment {
	switch sec := t.Unix(); {
	case t.IsZero():
		return 0
	case sec <= math.MinInt64/int64(time.Second):
		return math.MinInt64
	case sec >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	if m := Moment(t.UnixNano()); m != 0 {
		return m
	}
	return 1
}

// IsZero says whether it is no time.
func (m Moment) IsZero() bool { return m == 0 }

// Time gives it back, in UTC.
func (m Moment) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(m)).UTC()
}

// Add gives the time that is later by d.
func (m Moment) Add(d time.Duration) time.Time { return m.Time().Add(d) }

// Sub gives how much later it is than another.
func (m Moment) Sub(o Moment) time.Duration { return m.Time().Sub(o.Time()) }

// After says whether it is later than a time.
func (m Moment) After(t time.Time) bool { return m.Time().After(t) }
