package examine_test

import (
	"testing"
	"time"

	"fleet.nationtech.io/deploy/doctor/examine"
	"fleet.nationtech.io/eventlog/logstream"
)

func TestTheGrowthOfALogIsThatOfTheLastDay(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		log   logstream.Info
		from  uint64
		since time.Duration // from was recorded so long ago
		bytes float64
		in    time.Duration
	}{
		"a log of three hours":          {logstream.Info{First: 1, Last: 100, Bytes: 1000}, 1, 3 * time.Hour, 1000, 3 * time.Hour},
		"a log that was quiet all day":  {logstream.Info{First: 1, Last: 100, Bytes: 1000}, 91, time.Hour, 100, 24 * time.Hour},
		"a log whose last event is old": {logstream.Info{First: 1, Last: 100, Bytes: 1000}, 100, 48 * time.Hour, 10, 48 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := examine.Growth(tc.log, now.Add(-tc.since), tc.from, now); got.Bytes != tc.bytes || got.In != tc.in {
				t.Errorf("it grew by %v bytes in %s, want %v in %s", got.Bytes, got.In, tc.bytes, tc.in)
			}
		})
	}
}
