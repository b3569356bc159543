package report

import (
	"path/filepath"
	"testing"
	"time"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
)

// A log that was lost may have acknowledged a state just before: that state is
// said again all the same.
func TestAStateThatWasOnItsWayWhenTheLogWasLostIsReportedAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lost bool
		want bool
	}{
		"the log was lost meanwhile": {lost: true, want: true},
		"it was not":                 {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(filepath.Join(t.TempDir(), "agent.db"), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			now := time.Unix(1000, 0)
			r, err := New(Options{Device: "pi-01", Store: s, Bus: bus.Of(nil), Clock: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			r.State(eventlog.DeploymentState{DeviceID: "pi-01", Deployment: "hello", Phase: eventlog.PhaseRunning})
			sent, _, err := r.pick()
			if err != nil || sent == nil {
				t.Fatalf("nothing to send: %v", err)
			}
			if test.lost {
				r.Resend()
			}
			if err := sent.acked(); err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Minute)
			again, _, err := r.pick()
			if err != nil {
				t.Fatal(err)
			}
			if (again != nil) != test.want {
				t.Errorf("said again: %t, want %t", again != nil, test.want)
			}
		})
	}
}
