package eventlog_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
)

func TestAPulseIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Max(1 << 53)
		want := eventlog.Heartbeat{DeviceID: "pi-01", At: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "at"), 5000).UTC()}
		if rapid.Bool().Draw(t, "new") {
			want.Agent = &eventlog.AgentFigures{
				Run: n.Draw(t, "run"), EngineDown: rapid.Bool().Draw(t, "down"), Observe: n.Draw(t, "observe"), Waiting: n.Draw(t, "waiting"),
				Drifts: n.Draw(t, "drifts"), FailedChecks: n.Draw(t, "checks"), Rejected: n.Draw(t, "rejected"), LiveGaps: n.Draw(t, "gaps"),
				FailedSyncs: n.Draw(t, "syncs"), ReportRetries: n.Draw(t, "retries"), RefusedReports: n.Draw(t, "refused"),
				DroppedEvents: n.Draw(t, "dropped"), RefusedTokens: n.Draw(t, "tokens"),
			}
		}
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := eventlog.ParseHeartbeat("pi-01", data)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%s: %v (-want +got)\n%s", data, err, diff)
		}
	})
}

func TestAPulseOfAnyVersionIsRead(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		data string
		want eventlog.Heartbeat
		bad  bool
	}{
		"an agent of version 0.1":                  {data: `{"device_id":"pi-01","at":"2026-11-29T12:00:00Z"}`, want: eventlog.Heartbeat{DeviceID: "pi-01", At: at}},
		"an agent that counts":                     {data: `{"device_id":"pi-01","at":"2026-11-29T12:00:00Z","agent":{"run":7,"engine_down":true,"drifts":2}}`, want: eventlog.Heartbeat{DeviceID: "pi-01", At: at, Agent: &eventlog.AgentFigures{Run: 7, EngineDown: true, Drifts: 2}}},
		"an agent of a later version":              {data: `{"device_id":"pi-01","at":"2026-11-29T12:00:00Z","agent":{"run":7,"moods":[1,2]},"more":{}}`, want: eventlog.Heartbeat{DeviceID: "pi-01", At: at, Agent: &eventlog.AgentFigures{Run: 7}}},
		"a pulse that speaks of another device":    {data: `{"device_id":"pi-02","at":"2026-11-29T12:00:00Z"}`, bad: true},
		"a pulse whose count is below zero":        {data: `{"device_id":"pi-01","at":"2026-11-29T12:00:00Z","agent":{"run":-1}}`, bad: true},
		"a pulse whose count is no whole number":   {data: `{"device_id":"pi-01","at":"2026-11-29T12:00:00Z","agent":{"run":1,"drifts":1.5}}`, bad: true},
		"a pulse that is no JSON":                  {data: `alive`, bad: true},
		"a pulse with an engine that is not a yes": {data: `{"device_id":"pi-01","at":"2026-11-29T12:00:00Z","agent":{"run":1,"engine_down":"no"}}`, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := eventlog.ParseHeartbeat("pi-01", []byte(c.data))
			if (err != nil) != c.bad {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What the scanner reads is what encoding/json reads.
func FuzzHeartbeat(f *testing.F) {
	f.Add([]byte(`{"device_id":"pi-01","at":"2026-11-29T12:00:00Z","agent":{"run":7,"engine_down":true,"drifts":2}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := eventlog.ParseHeartbeat("pi-01", data)
		var want eventlog.Heartbeat
		wantErr := json.Unmarshal(data, &want)
		if err == nil && (wantErr != nil || !cmp.Equal(want, got)) {
			t.Errorf("%q is read as %+v, and by encoding/json as %+v (%v)", data, got, want, wantErr)
		}
	})
}

// A pulse stays small: it goes to the servers each 30 s from each device.
func TestAPulseStaysSmall(t *testing.T) {
	t.Parallel()
	size := func(h eventlog.Heartbeat) int {
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	h := eventlog.Heartbeat{DeviceID: "edge-000001", At: time.Date(2026, 11, 29, 12, 0, 0, 123456789, time.UTC)}
	without := size(h)
	h.Agent = &eventlog.AgentFigures{Run: 1<<53 - 1, Observe: 35}
	well := size(h)
	const n = 1_000_000
	*h.Agent = eventlog.AgentFigures{1<<53 - 1, true, n, n, n, n, n, n, n, n, n, n, n}
	most := size(h)
	t.Logf("without figures %d bytes, of an agent that is well %d, of one with all troubles %d", without, well, most)
	if well > without+70 || most > 512 {
		t.Errorf("of an agent that is well %d bytes (without figures %d), and of one with all troubles %d", well, without, most)
	}
}

var sink eventlog.Heartbeat

// The pulses of 100,000 devices each 30 s are 3,333 a second.
func BenchmarkPulse(b *testing.B) {
	h := eventlog.Heartbeat{DeviceID: "edge-000001", At: time.Date(2026, 11, 29, 12, 0, 0, 123456789, time.UTC), Agent: &eventlog.AgentFigures{Run: 1<<53 - 1, Observe: 35, Drifts: 3, LiveGaps: 2, ReportRetries: 17}}
	data, err := json.Marshal(h)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ParseHeartbeat", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sink, _ = eventlog.ParseHeartbeat("edge-000001", data)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = json.Unmarshal(data, &sink)
		}
	})
}
