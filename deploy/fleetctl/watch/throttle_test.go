package watch

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/projections/fleet"
)

// TestAThingThatWasJustWrittenRests is about what a watch holds back, and when it
// tells it. Each step happens so many milliseconds after the beginning.
func TestAThingThatWasJustWrittenRests(t *testing.T) {
	t.Parallel()
	hello, web := objectKey{"deployments", fleet.Key{Namespace: "default", Name: "hello"}}, objectKey{"deployments", fleet.Key{Namespace: "shop", Name: "web"}}
	begin := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	tests := map[string]struct {
		do   func(p *throttle) []objectKey
		want []objectKey
	}{
		"nothing rests to begin with": {
			do: func(p *throttle) []objectKey {
				if p.holds(hello) {
					t.Error("it is held")
				}
				return p.over(at(5000))
			},
		},
		"what changes a hundred times within a second is told once": {
			do: func(p *throttle) []objectKey {
				p.written(hello, at(0))
				for range 100 {
					if !p.holds(hello) {
						t.Error("it is not held")
					}
				}
				return append(p.over(at(999)), p.over(at(1000))...)
			},
			want: []objectKey{hello},
		},
		"what did not change is not told when its rest is over": {
			do: func(p *throttle) []objectKey {
				p.written(hello, at(0))
				p.written(web, at(100))
				p.holds(web)
				return p.over(at(1100))
			},
			want: []objectKey{web},
		},
		"each has its own rest": {
			do: func(p *throttle) []objectKey {
				p.written(hello, at(0))
				p.written(web, at(500))
				p.holds(web)
				p.holds(hello)
				return p.over(at(1200))
			},
			want: []objectKey{hello},
		},
		"what went is not told, and what came again rests again": {
			do: func(p *throttle) []objectKey {
				p.written(hello, at(0))
				p.holds(hello)
				p.gone(hello)
				if p.holds(hello) {
					t.Error("it is held after it went")
				}
				p.written(hello, at(500))
				p.holds(hello)
				return p.over(at(1200))
			},
		},
		"and is told a second after it came": {
			do: func(p *throttle) []objectKey {
				p.written(hello, at(0))
				p.gone(hello)
				p.written(hello, at(500))
				p.holds(hello)
				return append(p.over(at(1200)), p.over(at(1500))...)
			},
			want: []objectKey{hello},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.do(&throttle{}), cmp.AllowUnexported(objectKey{})); diff != "" {
				t.Errorf("what is told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAWatchIsToldWhenToWake(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	var p throttle
	p.written(objectKey{plural: "devices"}, begin)
	if _, ok := p.next(); ok {
		t.Error("it wakes though nothing is held")
	}
	p.holds(objectKey{plural: "devices"})
	if until, ok := p.next(); !ok || !until.Equal(begin.Add(minWriteInterval)) {
		t.Errorf("it wakes at %v (%v), not when the rest is over", until, ok)
	}
	p.over(begin.Add(minWriteInterval))
	if _, ok := p.next(); ok {
		t.Error("it wakes after all was told")
	}
}
