package attention_test

import (
	"testing"
	"time"

	"fleet.nationtech.io/projections/attention"
)

func TestACertificateNeedsAPersonBeforeItEnds(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	ends := time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		life, left time.Duration // life 0: not known
		want       attention.Severity
	}{
		"31 days are left of three years":              {1095 * day, 31 * day, 0},
		"29 days are left of three years":              {1095 * day, 29 * day, attention.Warning},
		"6 days are left of three years":               {1095 * day, 6 * day, attention.Critical},
		"it has ended":                                 {1095 * day, 0, attention.Critical},
		"29 days are left of a life that nobody knows": {0, 29 * day, attention.Warning},
		"half a day is left of a day":                  {day, 12 * time.Hour, 0},
		"7 hours are left of a day":                    {day, 7 * time.Hour, attention.Warning},
		"2 hours are left of a day":                    {day, 2 * time.Hour, attention.Critical},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := attention.Certificate{Ends: ends}
			if tt.life > 0 {
				c.Begins = ends.Add(-tt.life)
			}
			if got := c.Severity(ends.Add(-tt.left)); got != tt.want {
				t.Errorf("it is %s, want %s", got, tt.want)
			}
		})
	}
}
