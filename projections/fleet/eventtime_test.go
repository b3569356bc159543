package fleet_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

func (s *story) happened(at time.Time) *fleet.View {
	h := fleet.NewEventTimeView(at)
	for _, e := range s.events {
		h.Add(e.Event, e.err)
	}
	return h.View()
}

// known is the fleet as the log knew it at a moment.
func (s *story) known(at time.Time) *fleet.View {
	v := fleet.New()
	for _, e := range s.events {
		if !e.Recorded.After(at) {
			v = fleet.Apply(v, e.Event, e.err)
		}
	}
	return v
}

// clock is a time of the day of the stories below.
func clock(hour, minute int) time.Time { return time.Date(2026, 11, 24, hour, minute, 0, 0, time.UTC) }

// late has something happen at one time and be recorded at another.
func (s *story) late(happens, recorded time.Time, tell func()) {
	s.happens, s.recorded = happens, recorded
	tell()
	s.happens, s.recorded = time.Time{}, time.Time{}
}

func (s *story) at(hour, minute int, tell func()) {
	s.late(clock(hour, minute), clock(hour, minute), tell)
}

func TestALateReportIsWhereItBelongs(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	s.at(9, 0, func() {
		s.apply("shop", "web", "app:1", 1)
		s.assign("pi-01", "shop", "web", "app:1", 1)
	})
	s.at(9, 5, func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1") })
	s.at(10, 0, func() { s.presence("pi-01", eventlog.DeviceOffline) })
	s.late(clock(10, 30), clock(12, 0), func() { s.report("pi-01", "web", eventlog.PhaseFailed, v1, "a.2") })
	s.at(12, 0, func() { s.presence("pi-01", eventlog.DeviceOnline) })

	phase := func(v *fleet.View) string {
		p := v.Devices["pi-01"].Pair("web")
		return fmt.Sprint(p.Reported.Phase, " ", v.Devices["pi-01"].Presence.Online, " ", v.Deployments[web].Counts.Failed)
	}
	for _, tt := range []struct {
		hour, minute    int
		known, happened string
	}{
		{10, 15, "Running Offline 0", "Running Offline 0"},
		{11, 0, "Running Offline 0", "Failed Offline 1"},
		{12, 0, "Failed Online 1", "Failed Online 1"},
	} {
		at := clock(tt.hour, tt.minute)
		if got := phase(s.known(at)); got != tt.known {
			t.Errorf("at %s the log knew %q, want %q", at.Format(time.TimeOnly), got, tt.known)
		}
		v := s.happened(at)
		if got := phase(v); got != tt.happened {
			t.Errorf("at %s it was %q, want %q", at.Format(time.TimeOnly), got, tt.happened)
		}
		if v.Sequence != uint64(len(s.events)) {
			t.Errorf("sequence %d, want that of the log's last event, %d", v.Sequence, len(s.events))
		}
	}
}

func TestWhatHappened(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tell func(*story)
		want string // phase, reason, succeeded of web; decommissioned; at 13:00
	}{
		"of two late reports the later one wins, in whatever order they come": {
			tell: func(s *story) {
				s.late(clock(11, 0), clock(14, 0), func() { s.report("pi-01", "web", eventlog.PhaseFailed, v1, "") })
				s.late(clock(10, 0), clock(15, 0), func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "") })
			},
			want: "Failed 0 false",
		},
		"a report that happened later does not count": {
			tell: func(s *story) {
				s.at(10, 0, func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "") })
				s.late(clock(13, 1), clock(14, 0), func() { s.report("pi-01", "web", eventlog.PhaseFailed, v1, "") })
			},
			want: "Running 1 false",
		},
		"a device whose clock is fast is believed no later than the log heard of it": {
			tell: func(s *story) {
				s.late(clock(23, 0), clock(10, 0), func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "") })
				s.at(11, 0, func() { s.report("pi-01", "web", eventlog.PhaseFailed, v1, "") })
			},
			want: "Failed 0 false",
		},
		"a repeat is none, however late": {
			tell: func(s *story) {
				s.at(10, 0, func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1") })
				s.at(10, 0, func() { s.report("pi-01", "web", eventlog.PhaseFailed, v1, "a.2") })
				s.late(clock(10, 0), clock(14, 0), func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1") })
			},
			want: "Failed 0 false",
		},
		"a report that cannot be read wins over nothing": {
			tell: func(s *story) {
				s.at(10, 0, func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "") })
				s.at(11, 0, func() { s.report("pi-01", "web", "Nonsense", v1, "") })
			},
			want: "Running 1 false",
		},
		"a report without a hash from before the assignment is not one of it": {
			tell: func(s *story) {
				s.at(12, 0, func() { s.assign("pi-01", "shop", "web", "app:1", 1) })
				s.late(clock(11, 0), clock(14, 0), func() { s.report("pi-01", "web", eventlog.PhaseRunning, "", "") })
			},
			want: "Running 0 false",
		},
		"what was cleared is cleared for what happened before": {
			tell: func(s *story) {
				s.at(11, 0, func() {
					d := eventlog.Draft{Subject: eventlog.StateSubject("pi-01", "web"), Type: eventlog.StateCleared, Time: s.now()}
					s.add(d.Message("operator", "ID"))
				})
				s.late(clock(10, 0), clock(14, 0), func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "") })
			},
			want: " 0 false",
		},
		"late words of a device that was taken out do not bring it back": {
			tell: func(s *story) {
				s.at(11, 0, func() { s.draft(eventlog.DeviceSubject("pi-01"), eventlog.DeviceDecommissioned, eventlog.Removal{}) })
				s.late(clock(10, 0), clock(14, 0), func() { s.info("pi-01", nil) })
			},
			want: " 0 true",
		},
		"nor do words from after that": {
			tell: func(s *story) {
				s.at(11, 0, func() { s.draft(eventlog.DeviceSubject("pi-01"), eventlog.DeviceDecommissioned, eventlog.Removal{}) })
				s.late(clock(12, 0), clock(14, 0), func() { s.info("pi-01", nil) })
			},
			want: " 0 true",
		},
		"what it ran before it was taken out is cleared, however late the log learns of it": {
			tell: func(s *story) {
				s.at(11, 0, func() { s.draft(eventlog.DeviceSubject("pi-01"), eventlog.DeviceDecommissioned, eventlog.Removal{}) })
				s.at(12, 0, func() { s.draft(eventlog.AccessSubject("pi-01"), eventlog.AccessAllowed, eventlog.Access{}) })
				s.late(clock(10, 0), clock(14, 0), func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1") })
			},
			want: " 0 false",
		},
		"what it ran while it was out is foreign, though it is allowed since": {
			tell: func(s *story) {
				s.at(11, 0, func() { s.draft(eventlog.DeviceSubject("pi-01"), eventlog.DeviceDecommissioned, eventlog.Removal{}) })
				s.at(12, 0, func() { s.draft(eventlog.AccessSubject("pi-01"), eventlog.AccessAllowed, eventlog.Access{}) })
				s.late(clock(11, 30), clock(14, 0), func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1") })
			},
			want: " 0 false",
		},
		"what it runs once it is allowed again counts": {
			tell: func(s *story) {
				s.at(11, 0, func() { s.draft(eventlog.DeviceSubject("pi-01"), eventlog.DeviceDecommissioned, eventlog.Removal{}) })
				s.at(12, 0, func() { s.draft(eventlog.AccessSubject("pi-01"), eventlog.AccessAllowed, eventlog.Access{}) })
				s.late(clock(12, 30), clock(14, 0), func() { s.report("pi-01", "web", eventlog.PhaseRunning, v1, "a.1") })
			},
			want: "Running 1 false",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{t: t}
			s.at(9, 0, func() {
				s.apply("shop", "web", "app:1", 1)
				s.assign("pi-01", "shop", "web", "app:1", 1)
			})
			tt.tell(s)
			v := s.happened(clock(13, 0))
			dev := v.Devices["pi-01"]
			got := fmt.Sprint(dev.Pair("web").Reported.Phase, " ", v.Deployments[web].Counts.Succeeded, " ", dev.Decommissioned)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnUnboundedFoldOfPunctualReportsIsTheFoldOfTheLog(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := delayed(drawStory(rt, t), func(int) int { return 0 })
		known, happened := s.fold(fleet.New()), s.happened(time.Time{})
		for id, d := range known.Devices { // which keys are to be cleared is no question of what happened
			d.Late, happened.Devices[id].Late = nil, nil
		}
		if diff := gocmp.Diff(summary(known), summary(happened)); diff != "" {
			rt.Fatalf("(-known +happened):\n%s", diff)
		}
	})
}

// delayed tells a story again in which device events happened so many minutes
// before they were recorded, all others as they were.
func delayed(s *story, minutes func(event int) int) *story {
	late := &story{t: s.t}
	for i, e := range s.events {
		at := epoch.Add(time.Duration(i) * time.Minute)
		ago := time.Duration(0)
		if e.Address.Family.OfDevices() {
			ago = time.Duration(minutes(i)) * time.Minute
		}
		h := nats.Header{}
		for k, v := range e.Header {
			h[k] = v
		}
		h.Set(eventlog.HeaderTime, at.Add(-ago).Format(time.RFC3339Nano))
		late.recorded = at
		late.add(&nats.Msg{Subject: e.Subject, Header: h, Data: e.Data})
	}
	return late
}

// bruteForce is what Happened promises, the slow way: of each subject of devices
// the last that happened by then is looked for in the whole log, put among what
// was decided where it belongs, and all of it folded.
func bruteForce(s *story, at time.Time) *fleet.View {
	newest := map[string]uint64{} // number of each store
	last := map[string]eventlog.Event{}
	var log []eventlog.Event
	for _, e := range s.events {
		store := e.Address.Device + " " + e.Counter.Epoch
		repeat := e.Counter.N > 0 && e.Counter.N <= newest[store]
		newest[store] = max(newest[store], e.Counter.N)
		if e.err != nil || repeat || e.EventTime().After(at) {
			continue
		}
		if !e.Address.Family.OfDevices() {
			log = append(log, e.Event)
		} else if before, ok := last[e.Subject]; eventlog.Check(e.Event) == nil && (!ok || !e.EventTime().Before(before.EventTime())) {
			last[e.Subject] = e.Event
		}
	}
	for _, e := range last {
		log = append(log, e)
	}
	slices.SortFunc(log, func(a, b eventlog.Event) int { // decisions here happen when they are recorded
		return cmp.Or(a.EventTime().Compare(b.EventTime()), cmp.Compare(a.Sequence, b.Sequence))
	})
	v := fleet.New()
	for _, e := range log {
		v.Sequence, e.Counter = 0, eventlog.Counter{} // their order is not the log's
		v = fleet.Apply(v, e, nil)
	}
	return v
}

func TestWhatHappenedIsWhatBruteForceFinds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := delayed(drawStory(rt, t), func(event int) int { // up to an hour, and now and then a clock is fast
			return rapid.IntRange(-2, 60).Draw(rt, fmt.Sprint("delay", event))
		})
		at := epoch.Add(time.Duration(rapid.IntRange(0, len(s.events)).Draw(rt, "at")) * time.Minute)
		got, want := s.happened(at), bruteForce(s, at)
		for _, v := range []*fleet.View{got, want} { // what the log counts, and not what happened
			v.Sequence, v.Recorded, v.Foreign = 0, time.Time{}, nil
			for _, d := range v.Devices {
				d.Identity, d.Traffic, d.Late = fleet.Identity{}, fleet.Traffic{}, nil
			}
		}
		gotten := summary(got)
		for id, d := range got.Devices { // foreign messages are heard of, too
			if want.Devices[id] == nil && d.Info == nil && d.Presence == (fleet.Presence{}) {
				delete(gotten, "device "+id)
			}
		}
		if diff := gocmp.Diff(summary(want), gotten); diff != "" {
			rt.Fatalf("at %s (-want +got):\n%s", at.Format(time.TimeOnly), diff)
		}
	})
}

// By the time at which things happened, events are folded by numbers of their own. What a
// report says of the assignment that it speaks of is a number of the log, so it means
// nothing there: the report counts by its hash and its place. Else a device would seem to
// speak of an earlier assignment, or of a later one than it knew.
func TestAFoldByOtherNumbersTakesNoAssignmentAtItsWord(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		by   int // by so much the numbers differ from the log's
		tell func(s *story)
		want fleet.Counts
	}{
		"the numbers are higher": {
			100, func(s *story) { s.speak("pi-01", "web", v1, 1, s.assign("pi-01", "shop", "web", "app:1", 1)) },
			fleet.Counts{Matched: 1, Updated: 1, Succeeded: 1},
		},
		"a report of an earlier assignment comes late": {
			-3, func(s *story) {
				first := s.assign("pi-01", "shop", "web", "app:1", 1)
				s.assign("pi-01", "shop", "web", "app:2", 2)
				s.speak("pi-01", "web", v1, 1, first)
				s.assign("pi-01", "shop", "web", "app:1", 3)
			},
			fleet.Counts{Matched: 1, Updated: 1, Pending: 1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{t: t}
			for range 4 {
				s.presence("pi-01", eventlog.DeviceOnline)
			}
			s.apply("shop", "web", "app:1", 1)
			tt.tell(s)
			v := fleet.New()
			v.Renumbered = true
			for _, e := range s.events {
				if e.Sequence = uint64(int(e.Sequence) + tt.by); int(e.Sequence) > 0 {
					v = fleet.Apply(v, e.Event, e.err)
				}
			}
			if p := v.Devices["pi-01"].Pair("web"); p.Reported.Assignment != 0 {
				t.Errorf("it keeps that a report speaks of assignment %d", p.Reported.Assignment)
			}
			if diff := gocmp.Diff(tt.want, v.Deployments[web].Counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}
