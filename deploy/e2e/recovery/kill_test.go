//go:build e2e

package recovery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// The whole fleet is killed at twenty moments of a rollout. Each time it comes
// back it goes on where it was: what was said is not said twice, what runs is
// not touched, and nobody is left behind.
func TestKilledAtTwentyMomentsOfARollout(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	if err := f.apply("steady", "as ever"); err != nil {
		t.Fatal(err)
	}
	if err := f.apply("rolling", "0"); err != nil {
		t.Fatal(err)
	}
	f.ready("steady")
	f.ready("rolling")
	steady := m.containers("steady")
	if len(steady) != 3 {
		t.Fatalf("%d containers of steady, want 3", len(steady))
	}
	moments := rand.New(rand.NewPCG(14, 3)) // seeded: the same moments each time
	for i := 1; i <= 20; i++ {
		if err := f.apply("rolling", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(moments.IntN(1200)) * time.Millisecond) // the moment
		m.kill()
		f = m.up()
		f.ready("rolling")
		if diff := cmp.Diff(steady, m.containers("steady")); diff != "" {
			t.Fatalf("kill %d: what did not change was touched (-before +after):\n%s", i, diff)
		}
		if n := len(m.containers("rolling")); n != 3 {
			t.Fatalf("kill %d: %d containers of rolling, want 3", i, n)
		}
	}
	said := map[string]int{}
	for e, err := range reader.Read(context.Background(), f.js, reader.Options{Subjects: []string{eventlog.FamilySubjects(eventlog.FamilyDesired)}}) {
		if err != nil {
			t.Fatal(err)
		}
		said[fmt.Sprintf("%s %s revision %d", e.Subject, e.Type, e.Revision)]++
	}
	for what, n := range said {
		if n != 1 {
			t.Errorf("the log says %d times: %s", n, what)
		}
	}
	if want := 3 + 3*21; len(said) != want {
		t.Errorf("%d desired events, want %d", len(said), want)
	}
	m.stop()
}
