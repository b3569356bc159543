package podmantest

import (
	"os"
	"path/filepath"
	"testing"
)

// What a killed test left behind is taken away by the next one, what a living
// one has is not.
func TestLeftoversOfAKilledTestAreRemoved(t *testing.T) {
	t.Parallel()
	Require(t)
	parent, err := os.MkdirTemp("", "ph") // not a home, and short as one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	home := func(name string) string {
		dir := filepath.Join(parent, prefix+name)
		if _, err := furnish(dir, Options{}); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	living, dead, young := home("living"), home("dead"), home("young")
	held, err := own(living)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	released, err := own(dead)
	if err != nil {
		t.Fatal(err)
	}
	if err := released.Close(); err != nil { // as the kernel does for a process that ends
		t.Fatal(err)
	}
	sweepIn(t, parent)
	for dir, want := range map[string]bool{living: true, dead: false, young: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v, want there: %v", filepath.Base(dir), err, want)
		}
	}
}
