package operator_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/verify"
)

// The stream of pulses is in memory. Where it goes while an operator leads, heartbeats go on: the
// operator makes it again, and device-heartbeat with it, whose place in the old stream the new one
// reaches long after.
func TestHeartbeatsGoOnWhereTheStreamOfPulsesIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	op.gauge(t, "fleet_operator_leader", 1)
	d := w.device("pi-01", map[string]string{"site": "lab"})
	beats := func(since time.Time) func() string {
		return func() string {
			d.pulse()
			kv, err := w.js.KeyValue(t.Context(), eventlog.BucketHeartbeat)
			if err != nil {
				return err.Error()
			}
			e, err := kv.Get(t.Context(), eventlog.HeartbeatKey("pi-01"))
			if err != nil {
				return err.Error()
			}
			var h eventlog.Heartbeat
			if err := json.Unmarshal(e.Value(), &h); err != nil || h.At.Before(since) {
				return fmt.Sprintf("the last is of %s (%v)", h.At, err)
			}
			return ""
		}
	}
	eventually(t, "a heartbeat", beats(time.Now()))
	for range 5000 {
		d.pulse()
	}
	eventually(t, "one after many", beats(time.Now()))
	if err := w.js.DeleteStream(t.Context(), eventlog.PulseStream); err != nil {
		t.Fatal(err)
	}
	r, err := verify.Run(t.Context(), w.js, verify.Options{})
	if err != nil {
		t.Errorf("verify without pulses: %v", err)
	} else if r.Differences() != 0 {
		t.Errorf("verify without pulses finds %v", r.Counts)
	}
	eventually(t, "one after the stream went", beats(time.Now()))
	eventually(t, "verify is content", func() string {
		r, err := verify.Run(t.Context(), w.js, verify.Options{})
		if err != nil || r.Differences() != 0 || r.Counts[verify.PulsesGone] != 0 {
			return fmt.Sprint(r, err)
		}
		return ""
	})
}
