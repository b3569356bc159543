package fleet_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

const mib = 1 << 20

// writes has a device write so many bytes at once, as it pleases: the log's
// clock of a story goes on by a second for each message.
func (s *story) writes(device string, mibs int) {
	for range mibs {
		s.add(&nats.Msg{Subject: eventlog.StateSubject(device, "web"), Data: make([]byte, mib)})
	}
}

func TestAFloodIsWhatADeviceWritesOverItsBudget(t *testing.T) {
	t.Parallel()
	access := func(typ eventlog.Type) func(*story) {
		return func(s *story) {
			s.draft(eventlog.AccessSubject("pi-01"), typ, eventlog.Access{Reason: "Flooding"})
		}
	}
	flood := func(s *story) { s.writes("pi-01", 10) }
	quiet := func(seconds int) func(*story) { // others go on
		return func(s *story) {
			for range seconds {
				s.presence("pi-02", eventlog.DeviceOnline)
			}
		}
	}
	tests := map[string]struct {
		story    []func(*story)
		flooding bool
		revoked  bool
	}{
		"a burst within the budget is none": {
			story: []func(*story){func(s *story) { s.writes("pi-01", 8) }},
		},
		"what is over the burst is one": {story: []func(*story){flood}, flooding: true},
		"foreign messages fill the log as others do": {
			story: []func(*story){func(s *story) {
				for range 10 {
					s.add(&nats.Msg{
						Subject: eventlog.StateSubject("pi-01", "web"), Data: make([]byte, mib),
						Header: nats.Header{eventlog.HeaderType: {"none of ours"}},
					})
				}
			}},
			flooding: true,
		},
		"so do headers": {
			story: []func(*story){func(s *story) {
				for range 10 {
					s.add(&nats.Msg{Subject: eventlog.AgentSubject("pi-01"), Header: nats.Header{"X": {strings.Repeat("x", mib)}}})
				}
			}},
			flooding: true,
		},
		"what the operator tells a device is not the device's": {
			story: []func(*story){func(s *story) {
				for range 12 {
					d := eventlog.Draft{
						Subject: eventlog.DesiredSubject("pi-01", "web"), Type: eventlog.DesiredAssigned, Time: epoch,
						Namespace: "shop", Data: make([]byte, mib),
					}
					s.add(d.Message("operator", "ID"))
				}
			}},
		},
		"a flood is one however late somebody looks": {story: []func(*story){flood, quiet(1000)}, flooding: true},
		"a device that writes again long after has leaked": {
			story: []func(*story){flood, quiet(100), func(s *story) { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "") }},
		},
		"who is revoked stays so":                        {story: []func(*story){flood, access(eventlog.AccessRevoked)}, flooding: true, revoked: true},
		"who is allowed too soon still floods":           {story: []func(*story){flood, access(eventlog.AccessRevoked), access(eventlog.AccessAllowed)}, flooding: true},
		"who is allowed once it has leaked is forgiven":  {story: []func(*story){flood, access(eventlog.AccessRevoked), quiet(100), access(eventlog.AccessAllowed)}},
		"who floods again after that floods":             {story: []func(*story){flood, access(eventlog.AccessRevoked), quiet(100), access(eventlog.AccessAllowed), flood}, flooding: true},
		"who is revoked by hand is so without any flood": {story: []func(*story){access(eventlog.AccessRevoked)}, revoked: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{t: t}
			for _, tell := range tt.story {
				tell(s)
			}
			d := s.fold(fleet.New()).Devices["pi-01"]
			if d.Traffic.Flooding() != tt.flooding || (d.Access != nil) != tt.revoked {
				t.Errorf("flooding %v, revoked %v; want %v, %v", d.Traffic.Flooding(), d.Access != nil, tt.flooding, tt.revoked)
			}
		})
	}
}
