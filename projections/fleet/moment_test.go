package fleet_test

import (
	"math"
	"testing"
	"time"

	"fleet.nationtech.io/projections/fleet"
)

func TestAMomentIsTheTimeOrTheNearestThatThereIs(t *testing.T) {
	t.Parallel()
	least, most := time.Unix(0, math.MinInt64).UTC(), time.Unix(0, math.MaxInt64).UTC()
	for name, c := range map[string]struct{ of, want time.Time }{
		"no time":               {time.Time{}, time.Time{}},
		"now, in another zone":  {epoch.Add(123456789).In(time.FixedZone("", 3600)), epoch.Add(123456789)},
		"before 1970":           {time.Unix(-7, 5), time.Unix(-7, 5).UTC()},
		"1970, which is a time": {time.Unix(0, 0), time.Unix(0, 1).UTC()},
		"a year before Christ":  {time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), least},
		"the year 1":            {time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), least},
		"the year 9999":         {time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), most},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := fleet.MomentOf(c.of)
			if got.Time() != c.want || got.IsZero() != c.want.IsZero() {
				t.Errorf("it became %v, want %v", got.Time(), c.want)
			}
			if again := fleet.MomentOf(got.Time()); again != got {
				t.Errorf("its time is another moment: %d, was %d", again, got)
			}
		})
	}
}
