package fleet_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

func pairsOf(v *fleet.View, device string) (n int) {
	for range v.Devices[device].Assignments {
		n++
	}
	return n
}

// A device may report whatever names it likes: what the log never assigned to it
// is kept up to a bound, and what was assigned is kept beside it.
func TestADeviceCannotGrowTheFoldByNamesOfItsOwn(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	s.apply("shop", "web", "app:1", 1)
	s.assign("pi-01", "shop", "web", "app:1", 1)
	const names = 3 * fleet.MaxUnknown
	for i := range names {
		s.report("pi-01", fmt.Sprint("stray-", i), eventlog.PhaseRunning, v1, "")
	}
	s.report("pi-01", "web", eventlog.PhaseRunning, v1, "")
	for name, v := range map[string]*fleet.View{
		"the fold": s.fold(fleet.New()), "the fold as it happened": s.happened(time.Time{}),
		"a fold that goes on from saved bytes": s.fold(decode(t, encode(t, (&story{t: t, events: s.events[:fleet.MaxUnknown]}).fold(fleet.New())))),
	} {
		if n := pairsOf(v, "pi-01"); n != fleet.MaxUnknown+1 {
			t.Errorf("%s has %d pairs, want %d", name, n, fleet.MaxUnknown+1)
		}
		if n := v.Foreign[eventlog.FamilyState]; n != names-fleet.MaxUnknown {
			t.Errorf("%s counts %d foreign reports, want %d", name, n, names-fleet.MaxUnknown)
		}
		if !v.Devices["pi-01"].Crowded() || v.Deployments[web].Counts.Succeeded != 1 {
			t.Errorf("%s: crowded %v, succeeded %d", name, v.Devices["pi-01"].Crowded(), v.Deployments[web].Counts.Succeeded)
		}
	}
	// A name that is assigned is no unknown one, and one that is cleared makes room.
	s.assign("pi-01", "shop", "stray-0", "app:1", 1)
	s.add(&nats.Msg{Subject: eventlog.StateSubject("pi-01", "stray-1"), Header: nats.Header{eventlog.HeaderKVOperation: {"DEL"}}})
	s.report("pi-01", "late-1", eventlog.PhaseRunning, v1, "")
	s.report("pi-01", "late-2", eventlog.PhaseRunning, v1, "")
	s.report("pi-01", "late-3", eventlog.PhaseRunning, v1, "")
	v := s.fold(fleet.New())
	dev := v.Devices["pi-01"]
	if dev.Pair("late-1") == nil || dev.Pair("late-2") == nil || dev.Pair("late-3") != nil {
		t.Errorf("late-1 %v, late-2 %v, late-3 %v: want the first two, for which there is room", dev.Pair("late-1"), dev.Pair("late-2"), dev.Pair("late-3"))
	}
}

// A device may say anything at any length: what is kept of it is bounded, and is
// the same after a checkpoint.
func TestTextsOfADeviceAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 20_000)
	labels := map[string]string{}
	for i := range 2000 {
		labels[fmt.Sprint("label-", i)] = "x"
	}
	labels["a-"+long] = long
	report, err := json.Marshal(eventlog.DeploymentState{
		DeviceID: "pi-01", Deployment: "web", Phase: eventlog.PhaseFailed, LastError: &long, Reason: long, ScoreHash: long,
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := json.Marshal(eventlog.DeviceInfo{DeviceID: "pi-01", Labels: labels, Inventory: eventlog.Inventory{Hostname: long, OS: long}})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{t: t}
	s.add(&nats.Msg{Subject: eventlog.StateSubject("pi-01", "web"), Data: report})
	s.add(&nats.Msg{Subject: eventlog.InfoSubject("pi-01"), Data: info})
	v := s.fold(fleet.New())
	dev := v.Devices["pi-01"]
	said := dev.Pair("web").Reported
	for what, n := range map[string]int{
		"error": len(said.Error), "reason": len(said.Reason), "hash": len(said.Hash),
		"hostname": len(dev.Info.Inventory.Hostname), "os": len(dev.Info.Inventory.OS),
	} {
		if n == 0 || n > 4096 {
			t.Errorf("%d bytes of its %s are kept, want some, and at most 4096", n, what)
		}
	}
	if n := len(dev.Info.Labels); n != fleet.MaxLabels {
		t.Errorf("%d labels are kept, want %d", n, fleet.MaxLabels)
	}
	if diff := cmp.Diff(summary(v), summary(decode(t, encode(t, v)))); diff != "" {
		t.Errorf("after a checkpoint (-want +got):\n%s", diff)
	}
}
