package resource_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

var web = storytest.Key("shop", "web")

// released is of three devices that run a first revision.
func released(t *testing.T) *storytest.Story {
	t.Helper()
	s := storytest.New(t)
	devices := []string{"pi-01", "pi-02", "pi-03"}
	for _, id := range devices {
		s.Device(id, map[string]string{"site": "lab"})
		s.Online(id)
	}
	s.Apply(web, 1, storytest.Podman("registry.example/web:1"), storytest.Batched)
	start := s.Start(web, 1, len(devices))
	for _, id := range devices {
		s.Give(id, web, 1, 1, start)
		s.Report(id, web, eventlog.PhaseRunning, "", 1)
	}
	s.Run(web, eventlog.RolloutCompleted, eventlog.Rollout{Revision: 1})
	return s
}

// rolling is the same in the middle of a second revision.
func rolling(t *testing.T) *storytest.Story {
	t.Helper()
	s := released(t)
	s.Apply(web, 2, storytest.Podman("registry.example/web:2"), storytest.Batched)
	s.Give("pi-01", web, 2, 1, s.Start(web, 2, 3))
	return s
}

func TestWhatIsPossibleFollowsFromHowTheRolloutStands(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		story func(t *testing.T) *storytest.Story
		want  []string
	}{
		"completed":  {released, []string{"pause", "restart"}},
		"on its way": {rolling, []string{"pause", "promote", "promote-full", "abort", "undo"}},
		"paused by the operator": {func(t *testing.T) *storytest.Story {
			s := rolling(t)
			s.Run(web, eventlog.RolloutPaused, eventlog.Rollout{Revision: 2, Reason: "BatchFailed"})
			return s
		}, []string{"pause", "resume", "promote", "promote-full", "abort", "undo", "retry-failed"}},
		"aborted": {func(t *testing.T) *storytest.Story {
			s := rolling(t)
			s.Run(web, eventlog.RolloutAborted, eventlog.Rollout{Revision: 2, Reason: "Requested"})
			return s
		}, []string{"pause", "undo", "retry"}},
		"orphaned": {func(t *testing.T) *storytest.Story {
			s := rolling(t)
			s.End(web, eventlog.DeploymentOrphaned, "CRMissing")
			return s
		}, []string{"withdraw"}},
		"deleted": {func(t *testing.T) *storytest.Story {
			s := rolling(t)
			s.End(web, eventlog.DeploymentDeleted, "CRDeleted")
			return s
		}, nil},
		"with as many open requests as the fleet keeps": {func(t *testing.T) *storytest.Story {
			s := rolling(t)
			for range 8 {
				s.Ask("ann", web, eventlog.Request{Verb: eventlog.RequestPause})
			}
			return s
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tt.story(t)
			c := resource.NewCatalog(s.Fleet(timeline.Options{}), s.Now())
			var got []string
			for _, a := range append(c.RolloutActions(web), c.DeploymentActions(web)...) {
				if a.Possible {
					got = append(got, a.Name)
				}
				if a.Possible == (a.WhyNot != "") {
					t.Errorf("%s: possible is %t, and why not %q", a.Name, a.Possible, a.WhyNot)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("possible (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsPossibleFollowsFromWhetherADeviceIsLetIn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		then func(s *storytest.Story)
		want []string
	}{
		"in the fleet": {func(*storytest.Story) {}, []string{"ping", "revoke", "decommission"}},
		"revoked": {func(s *storytest.Story) {
			s.Say(eventlog.AccessSubject("pi-01"), eventlog.AccessRevoked, eventlog.Access{Reason: "Requested"})
		}, []string{"ping", "allow", "decommission"}},
		"a request to revoke it is open": {func(s *storytest.Story) {
			s.Say(eventlog.DeviceRequestSubject("ann", "pi-01"), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestRevoke})
		}, []string{"ping", "allow", "decommission"}},
		"a request to decommission it is open": {func(s *storytest.Story) {
			s.Say(eventlog.DeviceRequestSubject("ann", "pi-01"), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestDecommission})
		}, []string{"ping", "revoke", "allow"}},
		"decommissioned": {func(s *storytest.Story) { s.Leaves("pi-01", web) }, []string{"ping", "revoke", "allow"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := released(t)
			tt.then(s)
			c := resource.NewCatalog(s.Fleet(timeline.Options{}), s.Now())
			var got []string
			for _, a := range c.DeviceActions("pi-01") {
				if a.Possible {
					got = append(got, a.Name)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("possible (-want +got):\n%s", diff)
			}
		})
	}
	c := resource.NewCatalog(released(t).Fleet(timeline.Options{}), time.Now())
	if got := c.DeviceActions("pi-99"); got != nil {
		t.Errorf("of a device that the log does not know: %v", got)
	}
}

func TestUndoNamesTheRevisionsThatAreKept(t *testing.T) {
	t.Parallel()
	s := rolling(t)
	for _, a := range resource.NewCatalog(s.Fleet(timeline.Options{}), s.Now()).RolloutActions(web) {
		if a.Name == eventlog.RequestUndo {
			if diff := cmp.Diff([]uint64{0, 1}, a.Revisions); diff != "" {
				t.Errorf("revisions (-want +got):\n%s", diff)
			}
		}
	}
}
