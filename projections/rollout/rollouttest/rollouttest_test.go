package rollouttest_test

import (
	"cmp"
	"flag"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"fleet.nationtech.io/projections/rollout/rollouttest"
)

// TestMain lives thousands of worlds where neither -rapid.checks nor RAPID_CHECKS says
// another number.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", cmp.Or(os.Getenv("RAPID_CHECKS"), "2000")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestTheModelObeysTheLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) { rollouttest.Live(rollouttest.NewWorld(rt)) })
}

// The laws say nothing about a row that no world reaches.
func TestTheWorldReachesEveryRowOfTheTable(t *testing.T) {
	t.Parallel()
	missing := map[string]bool{}
	for _, row := range strings.Fields("R1 R2 R3 R4 R5 R6 R7 R8 S2 S3 S4 Pin B0a B1 B2 B3 B4 B5 B7 B8 B9 B10 B11 B12 B13 Stall Wait Leave Delete") {
		missing[row] = true
	}
	lives := rapid.Custom(func(rt *rapid.T) map[string]int {
		w := rollouttest.NewWorld(rt)
		rollouttest.Live(w)
		return w.Rows
	})
	for seed := range 3000 {
		for row := range lives.Example(seed) {
			delete(missing, row)
		}
		if len(missing) == 0 {
			t.Logf("all rows are reached by world %d", seed)
			return
		}
	}
	t.Errorf("rows that no world reaches: %v", missing)
}
