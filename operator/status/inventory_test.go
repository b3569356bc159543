package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
)

// What a device did not find out, or did not say, is shown as unknown: no column of
// it is empty.
func TestWhatADeviceDoesNotReportIsUnknown(t *testing.T) {
	t.Parallel()
	u := status.UnknownInventory
	want := &v1alpha1.InventorySnapshot{Hostname: u, Arch: "arm64", OS: u, Kernel: u, CPUCores: 4, AgentVersion: u, PodmanVersion: u}
	if diff := cmp.Diff(want, status.Inventory(eventlog.Inventory{Arch: "arm64", CPUCores: 4})); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	if got := status.Device(status.Devices{Log: &fleet.Device{ID: "pi-01"}}, time.Now()).AgentVersion; got != u {
		t.Errorf("agent's version %q of a device that reported nothing, want %q", got, u)
	}
}
