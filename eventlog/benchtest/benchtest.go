// Package benchtest compares what we do with its bare alternative, so that the
// machine weighs on both alike: the turns alternate, who comes first changes from
// round to round, garbage is collected before each turn, and what a turn prepares
// and clears away is outside the clock. A result is the median of the rounds and
// never without their spread.
package benchtest

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Turn is one side of a comparison.
type Turn struct {
	Name string
	// Prepare, where it is not nil, makes ready what Run needs.
	Prepare func(round int)
	// Run is what is measured.
	Run func()
	// Settle, where it is not nil, checks what Run did and waits until nothing of
	// it goes on, so that it does not burden the next turn.
	Settle func()
}

// Samples are what one side's turns took, in the order of the rounds.
type Samples struct {
	Name string
	Wall []time.Duration
	// CPU is the processor time of the whole process, of a NATS server in it too: a
	// machine that is busy with others makes Wall longer, and hardly this.
	CPU []time.Duration
}

// Alternate runs the turns so many rounds, after one round that does not count.
func Alternate(b *testing.B, rounds int, turns ...Turn) []Samples {
	b.Helper()
	samples := make([]Samples, len(turns))
	for i, t := range turns {
		samples[i].Name = t.Name
	}
	for round := range rounds + 1 {
		for i := range turns {
			turn := (i + round) % len(turns)
			wall, cpu := turns[turn].measure(b, round)
			if round > 0 {
				samples[turn].Wall = append(samples[turn].Wall, wall)
				samples[turn].CPU = append(samples[turn].CPU, cpu)
			}
		}
	}
	return samples
}

func (t Turn) measure(b *testing.B, round int) (wall, cpu time.Duration) {
	b.Helper()
	if t.Prepare != nil {
		t.Prepare(round)
	}
	runtime.GC()
	before, start := cpuTime(b), time.Now()
	t.Run()
	wall, cpu = time.Since(start), cpuTime(b)-before
	if t.Settle != nil {
		t.Settle()
	}
	return wall, cpu
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Ratios are those of each round: one side's time by the other's of the same round.
func Ratios(of, to []time.Duration) []float64 {
	rs := make([]float64, len(of))
	for i := range of {
		rs[i] = of[i].Seconds() / to[i].Seconds()
	}
	return rs
}

// Median gives the middle one, and of an even number the upper of the two.
func Median[T cmp.Ordered](all []T) T { return slices.Sorted(slices.Values(all))[len(all)/2] }

// Spread is the median with the least and the most of all rounds, as text.
func Spread(ratios []float64) string {
	return fmt.Sprintf("%.2f (%.2f to %.2f in %d rounds)", Median(ratios), slices.Min(ratios), slices.Max(ratios), len(ratios))
}

// Rate is how many a second that is, with the slowest and the quickest round.
func Rate(n int, took []time.Duration) string {
	per := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
	return fmt.Sprintf("%.0f/s (%.0f to %.0f)", per(Median(took)), per(slices.Max(took)), per(slices.Min(took)))
}
