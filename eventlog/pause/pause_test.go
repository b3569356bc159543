package pause_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"fleet.nationtech.io/eventlog/pause"
)

func TestAPauseLastsUntilItsTimeOrTheContextEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ends, asked, lasts time.Duration
		whole              bool
	}{
		"the time passes":                    {time.Hour, time.Minute, time.Minute, true},
		"the context ends before":            {time.Second, time.Minute, time.Second, false},
		"no time is asked for":               {time.Hour, 0, 0, true},
		"no time is asked for after the end": {0, -time.Minute, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.ends)
				defer cancel()
				begun := time.Now()
				if whole := pause.For(ctx, tc.asked); whole != tc.whole || time.Since(begun) != tc.lasts {
					t.Errorf("it waited %s (whole: %t), want %s (%t)", time.Since(begun), whole, tc.lasts, tc.whole)
				}
			})
		})
	}
}
