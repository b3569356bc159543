package podman

import (
	"testing"
	"time"
)

func TestATimeIsKnownFromTheFirstSecondOn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		at    time.Time
		known bool
	}{
		"never, as Go writes it":                       {time.Time{}, false},
		"never, as the epoch":                          {time.Unix(0, 0), false},
		"a minute after a device without a clock boot": {time.Unix(60, 0), true},
		"today": {time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := known(test.at); got.IsZero() == test.known {
				t.Errorf("%s is %s", test.at, got)
			}
		})
	}
}
