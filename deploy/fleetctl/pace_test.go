package fleetctl

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
	hello, web := place{"deployments", fleet.Key{Namespace: "default", Name: "hello"}}, place{"deployments", fleet.Key{Namespace: "shop", Name: "web"}}
	begin := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	tests := map[string]struct {
		do   func(p *pace) []place
		want []place
	}{
		"nothing rests to begin with": {
			do: func(p *pace) []place {
				if p.holds(hello) {
					t.Error("it is held")
				}
				return p.over(at(5000))
			},
		},
		"what changes a hundred times within a second is told once": {
			do: func(p *pace) []place {
				p.written(hello, at(0))
				for range 100 {
					if !p.holds(hello) {
						t.Error("it is not held")
					}
				}
				return append(p.over(at(999)), p.over(at(1000))...)
			},
			want: []place{hello},
		},
		"what did not change is not told when its rest is over": {
			do: func(p *pace) []place {
				p.written(hello, at(0))
				p.written(web, at(100))
				p.holds(web)
				return p.over(at(1100))
			},
			want: []place{web},
		},
		"each has its own rest": {
			do: func(p *pace) []place {
				p.written(hello, at(0))
				p.written(web, at(500))
				p.holds(web)
				p.holds(hello)
				return p.over(at(1200))
			},
			want: []place{hello},
		},
		"what went is not told, and what came again rests anew": {
			do: func(p *pace) []place {
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
			do: func(p *pace) []place {
				p.written(hello, at(0))
				p.gone(hello)
				p.written(hello, at(500))
				p.holds(hello)
				return append(p.over(at(1200)), p.over(at(1500))...)
			},
			want: []place{hello},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.do(&pace{}), cmp.AllowUnexported(place{})); diff != "" {
				t.Errorf("what is told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAWatchIsToldWhenToWake(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	var p pace
	p.written(place{plural: "devices"}, begin)
	if _, ok := p.next(); ok {
		t.Error("it wakes though nothing is held")
	}
	p.holds(place{plural: "devices"})
	if until, ok := p.next(); !ok || !until.Equal(begin.Add(pausePerThing)) {
		t.Errorf("it wakes at %v (%v), not when the rest is over", until, ok)
	}
	p.over(begin.Add(pausePerThing))
	if _, ok := p.next(); ok {
		t.Error("it wakes after all was told")
	}
}
