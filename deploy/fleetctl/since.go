package fleetctl

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseSince reads a moment: RFC 3339, or how long ago, such as 15m, 2h30m or 3d.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("--since %q is neither a duration, such as 15m, 2h or 3d, nor a moment, such as %s", s, now.UTC().Format(time.RFC3339))
}
