package fleet_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

var (
	v1   = eventlog.Hash(score("app:1"))
	v2   = eventlog.Hash(score("app:2"))
	web  = fleet.Key{Namespace: "shop", Name: "web"}
	both = []string{"pi-01", "pi-02"}
)

func TestCountsFollowTheReports(t *testing.T) {
	t.Parallel()
	assigned := func(s *story) {
		s.apply("shop", "web", "app:1", 1)
		for _, d := range both {
			s.assign(d, "shop", "web", "app:1", 1)
		}
	}
	tests := map[string]struct {
		tell func(*story)
		want fleet.Counts
	}{
		"what is assigned and not reported is pending": {
			tell: assigned,
			want: fleet.Counts{Matched: 2, Pending: 2},
		},
		"a report of the assigned score counts, one of another score is pending": {
			tell: func(s *story) {
				assigned(s)
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1")
				s.report("pi-02", "web", eventlog.PhaseRunning, v2, "b.1")
			},
			want: fleet.Counts{Matched: 2, Updated: 1, Succeeded: 1, Pending: 1},
		},
		"a report without a hash counts when it is later than the assignment": {
			tell: func(s *story) {
				s.apply("shop", "web", "app:1", 1)
				s.assign("pi-01", "shop", "web", "app:1", 1)
				s.report("pi-01", "web", eventlog.PhaseRunning, "", "")
			},
			want: fleet.Counts{Matched: 1, Updated: 1, Succeeded: 1},
		},
		"a report without a hash from before the assignment does not count": {
			tell: func(s *story) {
				s.apply("shop", "web", "app:1", 1)
				s.report("pi-01", "web", eventlog.PhaseRunning, "", "")
				s.assign("pi-01", "shop", "web", "app:1", 1)
			},
			want: fleet.Counts{Matched: 1, Pending: 1},
		},
		"a device that failed and is offline counts as offline, and not among those to worry about": {
			tell: func(s *story) {
				assigned(s)
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1")
				s.report("pi-02", "web", eventlog.PhaseFailed, v1, "b.1")
				s.presence("pi-02", eventlog.DeviceOffline)
			},
			want: fleet.Counts{Matched: 2, Updated: 2, Succeeded: 1, Failed: 1, Offline: 1},
		},
		"a device that comes back online counts as failing again": {
			tell: func(s *story) {
				assigned(s)
				s.report("pi-02", "web", eventlog.PhaseFailed, v1, "b.1")
				s.presence("pi-02", eventlog.DeviceOffline)
				s.presence("pi-02", eventlog.DeviceOnline)
			},
			want: fleet.Counts{Matched: 2, Updated: 1, Failed: 1, FailedOnline: 1, Pending: 1},
		},
		"a new revision makes everybody pending": {
			tell: func(s *story) {
				assigned(s)
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1")
				s.apply("shop", "web", "app:2", 2)
				s.assign("pi-01", "shop", "web", "app:2", 2)
				s.assign("pi-02", "shop", "web", "app:2", 2)
			},
			want: fleet.Counts{Matched: 2, Pending: 2},
		},
		"a report from before the score went away and came back does not count": {
			tell: func(s *story) { thereAndBack(s, func(first uint64) { s.speak("pi-01", "web", v1, 1, first) }, nil) },
			want: fleet.Counts{Matched: 1, Updated: 1, Pending: 1},
		},
		"one that arrives late and names its assignment does not count either": {
			tell: func(s *story) {
				thereAndBack(s, nil, func(first, _ uint64) { s.speak("pi-01", "web", v1, 1, first) })
			},
			want: fleet.Counts{Matched: 1, Updated: 1, Pending: 1},
		},
		"one that arrives late and names its revision alone does not count either": {
			tell: func(s *story) { thereAndBack(s, nil, func(_, _ uint64) { s.speak("pi-01", "web", v1, 1, 0) }) },
			want: fleet.Counts{Matched: 1, Updated: 1, Pending: 1},
		},
		"a report of the assignment that brought the score back counts": {
			tell: func(s *story) {
				thereAndBack(s, nil, func(_, last uint64) { s.speak("pi-01", "web", v1, 3, last) })
			},
			want: fleet.Counts{Matched: 1, Updated: 1, Succeeded: 1},
		},
		"an older agent's report of the revision that brought the score back counts": {
			tell: func(s *story) { thereAndBack(s, nil, func(_, _ uint64) { s.speak("pi-01", "web", v1, 3, 0) }) },
			want: fleet.Counts{Matched: 1, Updated: 1, Succeeded: 1},
		},
		"an assignment that is not in this log yet is not believed": {
			tell: func(s *story) {
				thereAndBack(s, func(uint64) { s.speak("pi-01", "web", v1, 1, 4000) }, nil)
			},
			want: fleet.Counts{Matched: 1, Updated: 1, Pending: 1},
		},
		"another number for the same score unsettles no device": {
			tell: func(s *story) {
				assigned(s)
				s.speak("pi-01", "web", v1, 1, 2)
				s.assign("pi-01", "shop", "web", "app:1", 2)
			},
			want: fleet.Counts{Matched: 2, Updated: 1, Succeeded: 1, Pending: 1},
		},
		"what is withdrawn is no longer counted": {
			tell: func(s *story) {
				assigned(s)
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1")
				s.withdraw("pi-01", "shop", "web")
			},
			want: fleet.Counts{Matched: 1, Pending: 1},
		},
		"a repeat of a report changes nothing, however late": {
			tell: func(s *story) {
				assigned(s)
				s.report("pi-01", "web", eventlog.PhaseFailed, v1, "a.1")
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.2")
				s.report("pi-01", "web", eventlog.PhaseFailed, v1, "a.1")
			},
			want: fleet.Counts{Matched: 2, Updated: 1, Succeeded: 1, Pending: 1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{t: t}
			tt.tell(s)
			got := s.fold(fleet.New()).Deployments[web].Counts
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

// thereAndBack assigns app:1, then app:2, then app:1 again, and tells before and
// after that; the two assignments of app:1 are given.
func thereAndBack(s *story, before func(first uint64), after func(first, last uint64)) {
	s.apply("shop", "web", "app:1", 1)
	first := s.assign("pi-01", "shop", "web", "app:1", 1)
	if before != nil {
		before(first)
	}
	s.apply("shop", "web", "app:2", 2)
	s.assign("pi-01", "shop", "web", "app:2", 2)
	s.apply("shop", "web", "app:1", 3)
	last := s.assign("pi-01", "shop", "web", "app:1", 3)
	if after != nil {
		after(first, last)
	}
}

func TestTheNewestErrorIsThatOfADeviceWhichStillFails(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	s.apply("shop", "web", "app:1", 1)
	for _, d := range both {
		s.assign(d, "shop", "web", "app:1", 1)
		s.report(d, "web", eventlog.PhaseFailed, v1, "")
	}
	lastFailed := func() string {
		p := s.fold(fleet.New()).Deployments[web].LastFailed()
		if p == nil {
			return ""
		}
		return p.Device.ID
	}
	if got := lastFailed(); got != "pi-02" {
		t.Errorf("newest error on %q, want pi-02", got)
	}
	s.report("pi-02", "web", eventlog.PhaseRunning, v1, "")
	if got := lastFailed(); got != "pi-01" {
		t.Errorf("after pi-02 recovered: newest error on %q, want pi-01", got)
	}
	s.withdraw("pi-01", "shop", "web")
	if got := lastFailed(); got != "" {
		t.Errorf("after pi-01 was let go: newest error on %q, want none", got)
	}
}

func TestForeignMessagesAreCountedAndChangeNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]*nats.Msg{
		"a payload that is not JSON":              {Subject: eventlog.StateSubject("pi-01", "web"), Data: []byte("{")},
		"a payload that speaks of another device": {Subject: eventlog.StateSubject("pi-01", "web"), Data: []byte(`{"device_id":"pi-02","deployment":"web","phase":"Running"}`)},
		"a phase that does not exist":             {Subject: eventlog.StateSubject("pi-01", "web"), Data: []byte(`{"device_id":"pi-01","deployment":"web","phase":"Great"}`)},
		"a type that belongs on another subject": {
			Subject: eventlog.StateSubject("pi-01", "web"), Header: nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(eventlog.LeaderElected, 1)}},
		},
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{t: t}
			s.apply("shop", "web", "app:1", 1)
			s.assign("pi-01", "shop", "web", "app:1", 1)
			s.report("pi-01", "web", eventlog.PhaseRunning, v1, "")
			without := s.fold(fleet.New())
			s.add(m)
			v := s.fold(fleet.New())
			if diff := cmp.Diff(map[eventlog.Family]uint64{eventlog.FamilyState: 1}, v.Foreign); diff != "" {
				t.Errorf("foreign (-want +got):\n%s", diff)
			}
			if v.Sequence != 4 {
				t.Errorf("sequence = %d, want 4", v.Sequence)
			}
			// What the fold counts of every message is not the fleet.
			v.Sequence, v.Recorded, v.Foreign = without.Sequence, without.Recorded, without.Foreign
			v.Devices["pi-01"].Traffic = without.Devices["pi-01"].Traffic
			if diff := cmp.Diff(summary(without), summary(v)); diff != "" {
				t.Errorf("the view changed (-without +with):\n%s", diff)
			}
		})
	}
}

// A sync answer is complete when it holds the device's last desired event: that is
// a delete marker where a Deployment was withdrawn.
func TestASyncAnswerIsNotCompleteWithoutTheLastWithdrawal(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	s.apply("shop", "web", "app:1", 1)
	for what, event := range map[string]uint64{
		"an assignment":                s.assign("pi-01", "shop", "web", "app:1", 1),
		"a withdrawal":                 s.withdraw("pi-01", "shop", "web"),
		"a withdrawal of what is gone": s.withdraw("pi-01", "shop", "web"),
	} {
		v := (&story{t: t, events: s.events[:event]}).fold(fleet.New())
		if got := v.Devices["pi-01"].LastDesired; got != event {
			t.Errorf("after %s at sequence %d the last desired event is %d", what, event, got)
		}
	}
}

func TestTwoEpochsThatAlternateAreTwoMachines(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		counters  []string
		duplicate bool
		gaps      uint64
		repeats   uint64
	}{
		"a store that was lost is a new epoch":  {counters: []string{"a.1", "a.2", "b.1", "b.2"}},
		"a clone makes the epochs alternate":    {counters: []string{"a.1", "b.1", "a.2"}, duplicate: true},
		"a gap is a report that never came":     {counters: []string{"a.1", "a.4"}, gaps: 2},
		"a late repeat of an old epoch is none": {counters: []string{"a.1", "a.2", "b.1", "a.2"}, repeats: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{t: t}
			for _, c := range tt.counters {
				s.report("pi-01", "web", eventlog.PhaseRunning, v1, c)
			}
			v := s.fold(fleet.New())
			id := v.Devices["pi-01"].Identity
			if id.Duplicate(v.Recorded) != tt.duplicate || id.Gaps != tt.gaps || id.Repeats != tt.repeats {
				t.Errorf("duplicate %v, gaps %d, repeats %d; want %v, %d, %d",
					id.Duplicate(v.Recorded), id.Gaps, id.Repeats, tt.duplicate, tt.gaps, tt.repeats)
			}
		})
	}
}

func TestAStateThatTheLogNeverAssignedIsUnknownAndNotWithdrawn(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	s.report("pi-01", "old", eventlog.PhaseRunning, v1, "")
	p := s.fold(fleet.New()).Devices["pi-01"].Pair("old")
	if p == nil || p.Assigned() || p.Withdrawn() {
		t.Errorf("pair = %+v, want one that is neither assigned nor withdrawn", p)
	}
}

func TestAWithdrawalIsAskedOfAnOrphanOnly(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	ask := func() {
		s.draft(eventlog.RequestSubject("ada", "shop", "web"), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestWithdraw})
	}
	s.apply("shop", "web", "app:1", 1)
	ask()
	if r := s.fold(fleet.New()).Deployments[web].Withdraw; r != nil {
		t.Errorf("a request for a Deployment whose CR is there is kept: %+v", r)
	}
	s.draft(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{Reason: "CRMissing"})
	ask()
	if r := s.fold(fleet.New()).Deployments[web].Withdraw; r == nil || r.User != "ada" {
		t.Errorf("request for an orphan = %+v, want one by ada", r)
	}
}
