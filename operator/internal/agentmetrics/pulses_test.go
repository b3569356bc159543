package agentmetrics_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/agentmetrics"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const lately = 90 * time.Second

// pulse is the payload of one; figures may be nil.
func pulse(t testing.TB, device string, at time.Time, figures *eventlog.AgentFigures) []byte {
	t.Helper()
	b, err := json.Marshal(eventlog.Heartbeat{DeviceID: device, At: at, Agent: figures})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drifts are the figures of a run that found so many containers changed.
func drifts(run, n uint64) *eventlog.AgentFigures { return &eventlog.AgentFigures{Run: run, Drifts: n} }

func TestACounterOfTheFleetGrowsByWhatAgentsCount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pulses []*eventlog.AgentFigures // of one device, one after the other
		want   float64
	}{
		"what an agent counted before this replica heard it adds nothing": {[]*eventlog.AgentFigures{drifts(1, 40)}, 0},
		"what it counts from then on adds up":                             {[]*eventlog.AgentFigures{drifts(1, 40), drifts(1, 42), drifts(1, 45)}, 5},
		"a pulse that is lost is made up for":                             {[]*eventlog.AgentFigures{drifts(1, 0), drifts(1, 9)}, 9},
		"the restart of an agent adds nothing":                            {[]*eventlog.AgentFigures{drifts(1, 40), drifts(2, 3), drifts(2, 4)}, 1},
		"a counter that falls within a run adds nothing":                  {[]*eventlog.AgentFigures{drifts(1, 40), drifts(1, 3), drifts(1, 4)}, 1},
		"two agents of one id, one after the other, add nothing":          {[]*eventlog.AgentFigures{drifts(1, 40), drifts(2, 900), drifts(1, 41), drifts(2, 901)}, 0},
		"an agent that has no figures adds nothing":                       {[]*eventlog.AgentFigures{drifts(1, 40), nil, drifts(1, 60)}, 0},
		"a device that lies moves the figure by 1000 a pulse":             {[]*eventlog.AgentFigures{drifts(1, 0), drifts(1, 1<<52)}, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := agentmetrics.NewPulses(lately)
			for i, f := range c.pulses {
				now := noon.Add(time.Duration(i) * 30 * time.Second)
				p.Heard("pi-01", pulse(t, "pi-01", now, f), now)
			}
			if got := p.Summary(noon, 0).Troubles[eventlog.TroubleDrift]; got != c.want {
				t.Errorf("the fleet counts %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhatAgentsSayIsOfThoseThatWereHeardLately(t *testing.T) {
	t.Parallel()
	p := agentmetrics.NewPulses(lately)
	say := func(device string, at, now time.Time, f *eventlog.AgentFigures) {
		p.Heard(device, pulse(t, device, at, f), now)
	}
	old := noon.Add(-2 * lately)
	say("away", old, old, &eventlog.AgentFigures{Run: 1, EngineDown: true, Waiting: 7})
	say("well", noon, noon, &eventlog.AgentFigures{Run: 1, Observe: 250, Waiting: 3})
	say("ill", noon, noon, &eventlog.AgentFigures{Run: 1, EngineDown: true, Waiting: 1 << 50})
	say("wrong-clock", noon.Add(time.Hour), noon, &eventlog.AgentFigures{Run: 1})
	say("old", noon, noon, nil)
	say("left", noon, noon, &eventlog.AgentFigures{Run: 1, EngineDown: true})
	p.Forget("left")
	p.Heard("broken", []byte("alive"), noon)
	p.Heard("liar", pulse(t, "well", noon, drifts(1, 1)), noon)
	got := p.Summary(noon, 0)
	got.Troubles = nil
	want := agentmetrics.Summary{Heard: 3, Silent: 1, EnginesDown: 1, ClocksOff: 1, Waiting: 10_003, Looks: 1, LookSeconds: 0.25}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("they say %+v, want %+v", got, want)
	}
	// The clock of this machine may be wrong: the servers' counts.
	if got := p.Summary(noon, time.Hour).ClocksOff; got != 3 {
		t.Errorf("by servers whose clock is an hour ahead, %d clocks are off, want all but one, 3 of 4", got)
	}
}

// However agents restart and pulses are lost, a counter never falls, and never has more than the
// agents counted.
func TestACounterOfTheFleetNeverJumps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := agentmetrics.NewPulses(lately)
		counted, before := 0.0, 0.0
		run, drift := map[int]uint64{}, map[int]uint64{}
		for i := range rapid.IntRange(1, 60).Draw(t, "moments") {
			d := rapid.IntRange(0, 2).Draw(t, "device")
			if run[d] == 0 || rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				run[d], drift[d] = run[d]+1, 0
			}
			more := rapid.Uint64Range(0, 20).Draw(t, "more")
			drift[d] += more
			counted += float64(more)
			if rapid.IntRange(0, 3).Draw(t, "lost") == 0 {
				continue
			}
			id := fmt.Sprint("pi-", d)
			b, err := json.Marshal(eventlog.Heartbeat{DeviceID: id, At: noon, Agent: drifts(run[d], drift[d])})
			if err != nil {
				t.Fatal(err)
			}
			p.Heard(id, b, noon.Add(time.Duration(i)*time.Second))
			now := p.Summary(noon, 0).Troubles[eventlog.TroubleDrift]
			if now < before || now > counted {
				t.Fatalf("the fleet counts %v after %v, and agents counted %v", now, before, counted)
			}
			before = now
		}
	})
}

// 100,000 devices pulse each 30 s.
func BenchmarkPulses(b *testing.B) {
	const devices = 100_000
	p := agentmetrics.NewPulses(lately)
	ids, payloads := make([]string, devices), make([][]byte, devices)
	for i := range ids {
		ids[i] = fmt.Sprintf("edge-%06d", i)
		payloads[i] = pulse(b, ids[i], noon, &eventlog.AgentFigures{Run: 1<<53 - 1, Observe: 35, Drifts: 3, LiveGaps: 2})
		p.Heard(ids[i], payloads[i], noon)
	}
	b.Run("a pulse", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p.Heard(ids[i%devices], payloads[i%devices], noon)
		}
		b.ReportMetric(100*float64(b.Elapsed())/float64(b.N)*devices/float64(30*time.Second), "%core")
	})
	b.Run("a scrape", func(b *testing.B) {
		for b.Loop() {
			p.Summary(noon, 0)
		}
	})
}
