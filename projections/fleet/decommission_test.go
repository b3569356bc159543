package fleet_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

func (s *story) requestDecommission(device string) uint64 {
	return s.draft(eventlog.DeviceRequestSubject("ada", device), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestDecommission, Reason: "sold"})
}

func (s *story) decommission(device string) uint64 {
	return s.draft(eventlog.DeviceSubject(device), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Requested"})
}

func (s *story) allow(device string) uint64 {
	return s.draft(eventlog.AccessSubject(device), eventlog.AccessAllowed, eventlog.Access{Reason: "Requested"})
}

func (s *story) askAccess(device, verb string) uint64 {
	return s.draft(eventlog.DeviceRequestSubject("ada", device), eventlog.RequestMade, eventlog.Request{Verb: verb, Reason: "stolen"})
}

func (s *story) revoke(device string) uint64 {
	return s.draft(eventlog.AccessSubject(device), eventlog.AccessRevoked, eventlog.Access{Reason: "Requested"})
}

func TestOfRequestsAboutAccessTheLastIsOpenUntilTheOperatorAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tell func(*story)
		want string // the verb of the open request
	}{
		"a request to revoke is open":                         {func(s *story) { s.askAccess("pi-01", "revoke") }, "revoke"},
		"an answer closes it":                                 {func(s *story) { s.askAccess("pi-01", "revoke"); s.revoke("pi-01") }, ""},
		"whose access is revoked cannot be revoked again":     {func(s *story) { s.revoke("pi-01"); s.askAccess("pi-01", "revoke") }, ""},
		"a request to allow is open while access is revoked":  {func(s *story) { s.revoke("pi-01"); s.askAccess("pi-01", "allow") }, "allow"},
		"a request to allow takes back one to revoke":         {func(s *story) { s.askAccess("pi-01", "revoke"); s.askAccess("pi-01", "allow") }, ""},
		"a request to revoke takes back one to allow":         {func(s *story) { s.revoke("pi-01"); s.askAccess("pi-01", "allow"); s.askAccess("pi-01", "revoke") }, ""},
		"a request to allow is open while the device leaves":  {func(s *story) { s.requestDecommission("pi-01"); s.askAccess("pi-01", "allow") }, "allow"},
		"a request to allow is open once the device has left": {func(s *story) { s.decommission("pi-01"); s.askAccess("pi-01", "allow") }, "allow"},
		"a device that has left can be cut off":               {func(s *story) { s.decommission("pi-01"); s.askAccess("pi-01", "revoke") }, "revoke"},
		"a verb that this version does not know is skipped":   {func(s *story) { s.askAccess("pi-01", "dance") }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{t: t}
			tt.tell(s)
			got := ""
			if d := s.fold(fleet.New()).Devices["pi-01"]; d != nil && d.AccessRequest != nil {
				got = d.AccessRequest.Verb
				if d.AccessRequest.User != "ada" || d.AccessRequest.Reason != "stolen" {
					t.Errorf("the request is by %q with reason %q, want ada and stolen", d.AccessRequest.User, d.AccessRequest.Reason)
				}
			}
			if got != tt.want {
				t.Errorf("open request: %q, want %q", got, tt.want)
			}
		})
	}
}

func (s *story) cleared(subject string) {
	s.add(&nats.Msg{Subject: subject, Header: nats.Header{eventlog.HeaderKVOperation: {"DEL"}}})
}

func TestADeviceThatWasDecommissionedIsHeardNoMore(t *testing.T) {
	t.Parallel()
	lives := func(s *story) {
		s.info("pi-01", map[string]string{"site": "lab"})
		s.draft(eventlog.DeviceSubject("pi-01"), eventlog.DeviceRegistered, eventlog.Registration{})
		s.relabel("pi-01", map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: eventlog.OwnerDevice}})
		s.presence("pi-01", eventlog.DeviceOnline)
		s.apply("shop", "web", "app:1", 1)
		s.assign("pi-01", "shop", "web", "app:1", 1)
		s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1")
	}
	leaves := func(s *story) {
		lives(s)
		s.requestDecommission("pi-01")
		s.withdraw("pi-01", "shop", "web")
		s.cleared(eventlog.StateSubject("pi-01", "web"))
		s.cleared(eventlog.InfoSubject("pi-01"))
		s.decommission("pi-01")
	}
	tests := map[string]struct {
		tell func(*story)
		want string // leaving, decommissioned, registered, info, labels, presence, web's phase, late, foreign reports
	}{
		"a request is open until the operator has acted": {
			tell: func(s *story) { lives(s); s.requestDecommission("pi-01") },
			want: `ada false true true 1 Online Running [] 0`,
		},
		"what was known of it is gone": {
			tell: leaves,
			want: ` true false false 0   [] 0`,
		},
		"what it reports then is foreign, and noted to be cleared": {
			tell: func(s *story) {
				leaves(s)
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.2")
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.3")
				s.info("pi-01", nil)
			},
			want: ` true false false 0   ["" "web"] 3`,
		},
		"what was cleared is no longer to be cleared": {
			tell: func(s *story) {
				leaves(s)
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.2")
				s.info("pi-01", nil)
				s.cleared(eventlog.StateSubject("pi-01", "web"))
			},
			want: ` true false false 0   [""] 2`,
		},
		"what it reported between two of the operator's events is noted, too": {
			tell: func(s *story) {
				lives(s)
				s.withdraw("pi-01", "shop", "web")
				s.cleared(eventlog.StateSubject("pi-01", "web"))
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.2")
				s.decommission("pi-01")
			},
			want: ` true false false 0   ["" "web"] 0`,
		},
		"its journal is no report": {
			tell: func(s *story) {
				leaves(s)
				s.draft(eventlog.AgentSubject("pi-01"), eventlog.AgentStepSucceeded, eventlog.Step{Deployment: "web", Step: "remove"})
			},
			want: ` true false false 0   [] 0`,
		},
		"nothing that is said of it before it is allowed makes it a device again": {
			tell: func(s *story) {
				leaves(s)
				s.draft(eventlog.DeviceSubject("pi-01"), eventlog.DeviceRegistered, eventlog.Registration{})
				s.relabel("pi-01", map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: eventlog.OwnerDevice}})
				s.presence("pi-01", eventlog.DeviceOnline)
				s.requestDecommission("pi-01")
			},
			want: ` true false false 0   [] 0`,
		},
		"once it is allowed it is heard again": {
			tell: func(s *story) {
				leaves(s)
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.2")
				s.allow("pi-01")
				s.info("pi-01", nil)
			},
			want: ` false false true 0   [] 1`,
		},
		"to allow it takes back a request on which nobody has acted": {
			tell: func(s *story) { lives(s); s.requestDecommission("pi-01"); s.allow("pi-01") },
			want: ` false true true 1 Online Running [] 0`,
		},
		"a request about a device that has not reported yet is open, too": {
			tell: func(s *story) { s.requestDecommission("pi-01") },
			want: `ada false false false 0   [] 0`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{t: t}
			tt.tell(s)
			v := s.fold(fleet.New())
			d := v.Devices["pi-01"]
			leaving, phase := "", eventlog.Phase("")
			if d.Leaving != nil {
				leaving = d.Leaving.User
			}
			if p := d.Pair("web"); p != nil {
				phase = p.Reported.Phase
			}
			got := fmt.Sprintf("%s %v %v %v %d %s %s %q %d", leaving, d.Decommissioned, d.Registered, d.Info != nil, len(d.Labels),
				d.Presence.Online, phase, d.Late, v.Foreign[eventlog.FamilyState]+v.Foreign[eventlog.FamilyInfo])
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What is noted of a decommissioned device is bounded, as it chooses the names.
func TestADecommissionedDeviceCannotGrowTheView(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	s.info("pi-01", nil)
	s.decommission("pi-01")
	for n := range 10 * fleet.MaxLate {
		s.report("pi-01", fmt.Sprint("name-", n), eventlog.PhaseRunning, v1, "")
	}
	d := s.fold(fleet.New()).Devices["pi-01"]
	pairs := 0
	for range d.Assignments {
		pairs++
	}
	if len(d.Late) != fleet.MaxLate || !slices.IsSorted(d.Late) || pairs != 0 {
		t.Errorf("%d names are late, sorted %v, and %d pairs are kept", len(d.Late), slices.IsSorted(d.Late), pairs)
	}
}

// Whatever the log says: a device that has left has no info, labels, presence or
// report in the view.
func TestADecommissionedDeviceShowsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt, t)
		v := fleet.New()
		for _, e := range s.events {
			v = fleet.Apply(v, e.Event, e.err)
			for id, d := range v.Devices {
				if !d.Decommissioned {
					if len(d.Late) > 0 {
						rt.Fatalf("at sequence %d, %s: %q is late on a device of the fleet", v.Sequence, id, d.Late)
					}
					continue
				}
				if d.Info != nil || d.Registered || d.Labels != nil || d.Leaving != nil || d.Presence != (fleet.Presence{}) {
					rt.Fatalf("at sequence %d, %s shows %+v", v.Sequence, id, *d)
				}
				for p := range d.Assignments {
					if p.Reported != (fleet.Reported{}) {
						rt.Fatalf("at sequence %d, %s shows a report of %s: %+v", v.Sequence, id, p.Name, p.Reported)
					}
				}
			}
		}
	})
}
