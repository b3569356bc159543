package replay

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Speed is how many seconds of history pass in one of the person's: 60 is a
// minute a second. SpeedMax, the zero Speed, waits for nothing.
type Speed float64

// SpeedMax plays as fast as the log can be read.
const SpeedMax Speed = 0

// The speeds that + and - go through, beside SpeedMax after the last.
var speeds = []Speed{0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400}

// ParseSpeed reads 60x, 0.5x, 60 or max.
func ParseSpeed(s string) (Speed, error) {
	if s == "max" {
		return SpeedMax, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(s, "x"), 64)
	if err != nil || !(f >= 0.001 && f <= 1e9) {
		return 0, fmt.Errorf("speed %q is neither max nor a number of seconds of history a second, such as 60x", s)
	}
	return Speed(f), nil
}

// String is what ParseSpeed reads.
func (s Speed) String() string {
	if s == SpeedMax {
		return "max"
	}
	return strconv.FormatFloat(float64(s), 'g', -1, 64) + "x"
}

// Faster is the next greater speed.
func (s Speed) Faster() Speed {
	if s == SpeedMax {
		return s
	}
	for _, f := range speeds {
		if f > s {
			return f
		}
	}
	return SpeedMax
}

// Slower is the next lesser speed.
func (s Speed) Slower() Speed {
	if s == SpeedMax {
		return speeds[len(speeds)-1]
	}
	for i := len(speeds) - 1; i >= 0; i-- {
		if speeds[i] < s {
			return speeds[i]
		}
	}
	return s
}

// maxWait is the longest gap that a person sits through.
const maxWait = 2 * time.Second

// MaxGap is the longest gap between two events that is played; a longer one, which
// would take more than two seconds to play, is skipped. SpeedMax waits for no gap, and
// tells those of more than two minutes.
func (s Speed) MaxGap() time.Duration {
	if s == SpeedMax {
		return 60 * maxWait
	}
	return s.history(maxWait)
}

// history is how much of it passes in some of the person's time.
func (s Speed) history(played time.Duration) time.Duration {
	return time.Duration(float64(played) * float64(s))
}

// wait is how long some of history takes to play.
func (s Speed) wait(history time.Duration) time.Duration {
	if s == SpeedMax {
		return 0
	}
	return time.Duration(float64(history) / float64(s))
}
