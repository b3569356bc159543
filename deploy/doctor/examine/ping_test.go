package examine

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestAServerIsAsFarAsTheShortestOfItsAnswersSays(t *testing.T) {
	t.Parallel()
	const failed = -1
	for name, tc := range map[string]struct {
		answers []time.Duration
		want    time.Duration
	}{
		"this machine was busy at first":     {[]time.Duration{3 * time.Second, time.Millisecond, 2 * time.Second}, time.Millisecond},
		"one answer got lost":                {[]time.Duration{2 * time.Millisecond, failed, 3 * time.Millisecond}, 2 * time.Millisecond},
		"the server does not answer":         {[]time.Duration{failed}, 0},
		"the clock does not tell them apart": {[]time.Duration{0, 0, 0}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left := tc.answers
			got := shortest(func() (time.Duration, error) {
				one := left[0]
				left = left[1:]
				if one == failed {
					return 0, nats.ErrTimeout
				}
				return one, nil
			})
			if got != tc.want || len(left) > 0 {
				t.Errorf("%s, and not %s; %d answers were not waited for", got, tc.want, len(left))
			}
		})
	}
}
