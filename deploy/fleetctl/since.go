package fleetctl

import (
	"fmt"

	"fleet.nationtech.io/projections/asof"
)

// parseAgo reads a flag that takes a moment, and also how long ago without the
// sign: 15m, 2h30m or 3d.
func parseAgo(s Streams, flag, text string) (asof.Moment, error) {
	if d, err := asof.ParseDuration(text); err == nil && text != "0" { // a bare number is a sequence
		return asof.Moment{Time: s.Now().Add(-d)}, nil
	}
	m, err := asof.ParseMoment(text, s.Now())
	if err != nil {
		return m, misused(fmt.Errorf("%s %w", flag, err), flag+" 15m")
	}
	return m, nil
}
