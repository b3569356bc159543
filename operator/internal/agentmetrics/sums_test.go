package agentmetrics_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/agentmetrics"
)

// last is what a device said with its last pulse.
type last struct {
	heard time.Time
	ahead time.Duration
	said  *eventlog.AgentFigures
}

// recomputed adds up what each device said last. What only grows is not of it.
func recomputed(devices map[string]last, now time.Time, ahead time.Duration) agentmetrics.Summary {
	var s agentmetrics.Summary
	for _, d := range devices {
		if now.Sub(d.heard) > lately {
			continue
		}
		if (d.ahead - ahead).Abs() > 5*time.Second {
			s.ClocksOff++
		}
		if d.said == nil {
			s.Silent++
			continue
		}
		s.Heard++
		s.Waiting += min(d.said.Waiting, 10_000)
		if d.said.EngineDown {
			s.EnginesDown++
		}
	}
	return s
}

// Whatever pulses come, are missed and are of devices that leave, the sums that change with each
// pulse are those of a look at each device.
func TestTheSumsAreThoseOfALookAtEachAgent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, devices := agentmetrics.NewPulses(lately), map[string]last{}
		now, ahead := noon, time.Duration(0)
		for range rapid.IntRange(1, 80).Draw(t, "moments") {
			now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
			id := fmt.Sprint("pi-", rapid.IntRange(0, 4).Draw(t, "device"))
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				p.Forget(id)
				delete(devices, id)
			case 1:
				ahead = rapid.SampledFrom([]time.Duration{0, time.Hour, -4 * time.Second}).Draw(t, "the servers' clock")
			default:
				l := last{heard: now, ahead: rapid.SampledFrom([]time.Duration{0, 6 * time.Second, time.Hour}).Draw(t, "clock")}
				if rapid.Bool().Draw(t, "figures") {
					l.said = &eventlog.AgentFigures{
						Run: 1, Waiting: rapid.Uint64Range(0, 20_000).Draw(t, "waiting"), EngineDown: rapid.Bool().Draw(t, "engine down"),
					}
				}
				b, err := json.Marshal(eventlog.Heartbeat{DeviceID: id, At: now.Add(l.ahead), Agent: l.said})
				if err != nil {
					t.Fatal(err)
				}
				p.Heard(id, b, now)
				devices[id] = l
			}
			got := p.Summary(now, ahead)
			got.Troubles = nil
			if diff := cmp.Diff(recomputed(devices, now, ahead), got); diff != "" {
				t.Fatalf("(-recomputed +summed)\n%s", diff)
			}
		}
	})
}
