package eventlog_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
)

// A request about a device has a subject of its own shape, so it has golden files
// of its own beside those of the types. Version 1 is not written any more, and
// reads as the newest one does.
func TestARequestAboutADeviceIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	want := eventlog.Request{Verb: eventlog.RequestDecommission, Reason: "sold"}
	address := eventlog.Address{Family: eventlog.FamilyRequest, User: "ada", Device: "pi-01"}
	for version := 1; version <= eventlog.RequestMade.Version(); version++ {
		file := filepath.Join("testdata", fmt.Sprintf("device-request.made.v%d.json", version))
		if *update && version == eventlog.RequestMade.Version() {
			writeGolden(t, file, eventlog.RequestMade, eventlog.DeviceRequestSubject("ada", "pi-01"), want)
		}
		e := readGolden(t, file)
		got, err := eventlog.Payload[eventlog.Request](e)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || e.Version != version {
			t.Errorf("request of version %d, want %d (-want +got):\n%s", e.Version, version, diff)
		}
		if diff := cmp.Diff(address, e.Address); diff != "" {
			t.Errorf("address of version %d (-want +got):\n%s", version, diff)
		}
	}
}
