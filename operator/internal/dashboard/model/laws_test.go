package model_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
)

var web = storytest.Key("shop", "web")

// story is of twelve devices and two revisions in batches, with a device that fails, one that
// is offline, one whose access is revoked, and one that leaves.
func story(t *testing.T) *storytest.Story {
	t.Helper()
	s := storytest.New(t)
	name := func(i int) string { return fmt.Sprintf("pi-%02d", i) }
	for i := range 12 {
		s.Device(name(i), map[string]string{"site": "lab", "zone": string("ab"[min(i, 1)])})
		s.Online(name(i))
	}
	for revision := uint64(1); revision <= 2; revision++ {
		s.Apply(web, revision, storytest.Podman(fmt.Sprintf("registry.example/web:%d", revision)), storytest.Batched)
		start := s.Start(web, revision, 12)
		for i := range 12 {
			if i == 1 {
				s.Run(web, eventlog.RolloutBatchSucceeded, eventlog.Rollout{Revision: revision, Batch: 1})
				s.Run(web, eventlog.RolloutPromoted, eventlog.Rollout{Revision: revision, Batch: 1})
				s.Run(web, eventlog.RolloutBatchStarted, eventlog.Rollout{Revision: revision, Batch: 2})
			}
			s.Give(name(i), web, revision, 1+min(i, 1), start)
			switch i {
			case 4:
				s.State(name(i), web, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: "CrashLoop", Revision: revision})
			case 5:
				s.Offline(name(i))
			default:
				s.Report(name(i), web, eventlog.PhaseRunning, "", revision)
			}
		}
		s.Run(web, eventlog.RolloutCompleted, eventlog.Rollout{Revision: revision})
	}
	s.Say(eventlog.AccessSubject(name(6)), eventlog.AccessRevoked, eventlog.Access{Reason: "Requested"})
	s.Leaves(name(7), web)
	s.End(web, eventlog.DeploymentDeleted, "Deleted")
	return s
}

// At each moment of a story the figures of one page are those of the others, and of a look at
// each device.
func TestPagesAgreeWithEachOtherAtEachMoment(t *testing.T) {
	t.Parallel()
	s := story(t)
	rollouts, failing := 0, 0
	for at := range s.Events {
		v := fleet.New()
		for i := range at + 1 {
			fleet.Apply(v, s.Events[i], s.Errs[i])
		}
		c := resource.NewCatalog(v, v.Recorded)
		all := model.DevicesOf(c, false, model.DeviceFilter{Size: 100})
		overview := model.OverviewOf(c, false, model.Present{})
		if overview.Devices != all.Counts || all.Counts.Devices != len(all.Devices) {
			t.Fatalf("at %d: the overview counts %+v, the list %+v of %d devices", at+1, overview.Devices, all.Counts, len(all.Devices))
		}
		n := all.Counts
		for state, want := range map[string]int{"online": n.Online, "offline": n.Offline, "unheard": n.Unheard, "failing": n.Failing, "revoked": n.Revoked} {
			if got := model.DevicesOf(c, false, model.DeviceFilter{State: state, Size: 100}).Page.Total; got != want {
				t.Fatalf("at %d: %d devices are %s, and the counts say %d", at+1, got, state, want)
			}
		}
		failing = max(failing, n.Failing)
		var parts []model.DeviceRow
		for number := 1; ; number++ {
			part := model.DevicesOf(c, false, model.DeviceFilter{Page: number, Size: 5})
			if parts = append(parts, part.Devices...); number >= part.Page.Pages {
				break
			}
		}
		if diff := cmp.Diff(all.Devices, append([]model.DeviceRow{}, parts...)); diff != "" {
			t.Fatalf("at %d the parts of the list are not the list (-list +parts):\n%s", at+1, diff)
		}
		if r, known := model.RolloutOf(c, false, web); known {
			rollouts++
			agrees(t, at+1, r)
		}
	}
	if rollouts < 50 || failing != 1 {
		t.Errorf("%d moments have a rollout, and %d devices fail: the story proves little", rollouts, failing)
	}
}

// agrees holds the cells of a rollout against its counts.
func agrees(t *testing.T, at int, r model.Rollout) {
	t.Helper()
	standings, devices := map[string]int{}, 0
	for i, b := range r.Batches {
		if i > 0 && b.Number <= r.Batches[i-1].Number {
			t.Fatalf("at %d batch %d comes after batch %d", at, b.Number, r.Batches[i-1].Number)
		}
		for _, cell := range b.Cells {
			if cell.Batch != b.Number {
				t.Fatalf("at %d %s of batch %d is in batch %d", at, cell.Device, cell.Batch, b.Number)
			}
			standings[cell.Standing]++
			devices++
		}
	}
	if devices != r.Progress.Matched {
		t.Fatalf("at %d there are %d cells for %d devices", at, devices, r.Progress.Matched)
	}
	for _, s := range r.Progress.Standings {
		if standings[s.Standing] != s.Count {
			t.Fatalf("at %d %d cells are %s, and %d devices", at, standings[s.Standing], s.Standing, s.Count)
		}
	}
}
