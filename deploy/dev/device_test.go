package dev

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Fleets that share a Podman share no id, or one would take the other's
// containers for its own.
func TestTheDemosDevicesAreNotThoseOfAFleetBesideIt(t *testing.T) {
	t.Parallel()
	var up Options
	up.DataDir = t.TempDir()
	if err := up.complete(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"edge-01", "edge-02"}, ids(devices(up.Prefix, 2))); diff != "" {
		t.Errorf("up (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"demo-01", "demo-02"}, ids(devices(demoPrefix(AuthPassword), 2))); diff != "" {
		t.Errorf("demo (-want +got):\n%s", diff)
	}
}
