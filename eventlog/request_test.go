package eventlog_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
)

// A request about a device has a subject of its own shape, so it has a golden file
// of its own beside those of the types.
func TestARequestAboutADeviceIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join("testdata", "device-request.made.v1.json")
	want := eventlog.Request{Verb: eventlog.RequestDecommission, Reason: "sold"}
	if *update {
		writeGolden(t, file, eventlog.RequestMade, eventlog.DeviceRequestSubject("ada", "pi-01"), want)
	}
	e := readGolden(t, file)
	got, err := eventlog.Payload[eventlog.Request](e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	address := eventlog.Address{Family: eventlog.FamilyRequest, User: "ada", Device: "pi-01"}
	if diff := cmp.Diff(address, e.Address); diff != "" {
		t.Errorf("address (-want +got):\n%s", diff)
	}
}
