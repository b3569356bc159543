package agentmetrics_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/agentmetrics"
	"fleet.nationtech.io/projections/fleet"
)

// Whatever devices join, report and leave, the counts that change with each event are those of a
// look at each device, also of a replica that begins with a saved view.
func TestTheVersionsAreThoseOfALookAtEachDevice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		view, counted := fleet.New(), agentmetrics.NewVersions()
		counted.Begun(view)
		fold := func(subject string, kind eventlog.Type, payload any) {
			draft, err := eventlog.NewDraft(subject, kind, noon, payload)
			if err != nil {
				t.Fatal(err)
			}
			sequence := view.Sequence + 1
			m := draft.Message("test", fmt.Sprint("ID-", sequence))
			e, err := eventlog.Decode(m.Subject, m.Header, m.Data, sequence, noon.Add(time.Duration(sequence)*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			fleet.Apply(view, e, nil)
			counted.Folded(view, e, rapid.Bool().Draw(t, "live"))
		}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			id := fmt.Sprint("pi-", rapid.IntRange(0, 4).Draw(t, "device"))
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0, 1:
				fold(eventlog.DeviceSubject(id), eventlog.DeviceRegistered, eventlog.Registration{})
			case 2, 3, 4:
				info := eventlog.DeviceInfo{DeviceID: id}
				info.Inventory.AgentVersion = rapid.SampledFrom([]string{"0.2.0", "0.3.0", ""}).Draw(t, "version")
				fold(eventlog.InfoSubject(id), eventlog.InfoReported, info)
			case 5:
				fold(eventlog.InfoSubject(id), eventlog.InfoCleared, nil)
			case 6:
				fold(eventlog.DeviceSubject(id), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Requested"})
				fold(eventlog.AccessSubject(id), eventlog.AccessAllowed, eventlog.Access{})
			default:
				counted = agentmetrics.NewVersions()
				counted.Begun(view)
			}
			want := map[string]int{}
			for _, d := range view.Devices {
				if d.Registered && d.Info != nil {
					version := d.Info.Inventory.AgentVersion
					if version == "" {
						version = "Other"
					}
					want[version]++
				}
			}
			if diff := cmp.Diff(want, counted.Counts()); diff != "" {
				t.Fatalf("(-recomputed +counted)\n%s", diff)
			}
		}
	})
}
