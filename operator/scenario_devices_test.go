package operator_test

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/devicetest"
	"fleet.nationtech.io/projections/rollout/rollouttest"
)

// 40 of 200 devices are offline: the rollout completes with the others, within the
// budget of each site, of whose 100 devices 20 are down already. Those that come back
// are given it no more than maxUnavailable at a time.
func aFifthIsOffline(s scenario) {
	const settings = `{"batches":[{"size":5,"soak":"1s"},{"size":"20%","soak":"1s"},{"soak":"1s"}],"maxUnavailable":"5%","progressDeadline":"300s"}`
	s.bound(24)
	s.set("web", "app:1", `{}`)
	s.completes("web", 1, 200)
	away := s.ids[:40]
	s.fleet.Off(away...)
	s.offline(away...)
	s.fleet.SetFirst(s.image("app:2"), 160)
	s.set("web", "app:2", settings)
	s.completes("web", 2, 160)
	if n := s.have("web", "app:2"); n != 160 {
		s.t.Errorf("%d devices were given revision 2, want the 160 that are online", n)
	}
	s.fleet.On(away...) // and are silent about it
	s.until("web", "catches up", func(r *v1alpha1.RolloutStatus) bool { return r.Updating == 10 && r.Waiting == 30 })
	if n := s.have("web", "app:2"); n != 170 {
		s.t.Errorf("%d devices were given revision 2, want 10 more than 160: maxUnavailable is 5%% of 200", n)
	}
	s.fleet.Set(s.image("app:2"), devicetest.Runs)
	s.completes("web", 2, 200)
	s.onceEach("web")
}

// A new content comes while the one before is in its second batch, and another while
// that is in its first: no device goes back and forth.
func supersededTwice(s scenario) {
	const settings = `{"batches":[{"size":5,"soak":"1s"},{"size":"50%","soak":"1s"},{"soak":"0s"}],"maxUnavailable":"100%","progressDeadline":"300s"}`
	s.set("web", "app:1", `{}`)
	s.completes("web", 1, 100)
	s.fleet.SetFirst(s.image("app:2"), 30)
	s.fleet.Set(s.image("app:3"), devicetest.Silent)
	s.set("web", "app:2", settings)
	s.until("web", "is in the second batch", func(r *v1alpha1.RolloutStatus) bool {
		return r.Revision == 2 && r.Batch == 2 && r.Healthy == 30 && r.Updating == 20
	})
	s.set("web", "app:3", settings)
	s.until("web", "is in the first batch", func(r *v1alpha1.RolloutStatus) bool { return r.Revision == 3 && r.Batch == 1 && r.Updating == 5 })
	s.set("web", "app:4", settings)
	s.completes("web", 4, 100)
	s.onceEach("web")
	if two, three := s.have("web", "app:2"), s.have("web", "app:3"); two != 50 || three != 5 {
		s.t.Errorf("revision 2 reached %d devices and revision 3 %d, want the 50 of two batches and the 5 of one", two, three)
	}
}

// anax 3577: an agent's word that it accepted a policy counted as the policy's success.
// Here devices that say Pending prove nothing, however long the soak has gone by.
func acceptedIsNotHealthy(s scenario) {
	s.set("web", "app:1", `{}`)
	s.completes("web", 1, 10)
	s.fleet.Set(s.image("app:2"), devicetest.Accepts)
	s.set("web", "app:2", batched(2, "500ms", "300s", ""))
	s.until("web", "is accepted", func(r *v1alpha1.RolloutStatus) bool { return r.Revision == 2 && r.Updating == 2 })
	time.Sleep(3 * time.Second) // six soaks go by
	if said := s.newest("web"); len(said) != 1 || s.have("web", "app:2") != 2 {
		s.t.Errorf("devices accepted it, and the log says %v", said)
	}
	s.fleet.Set(s.image("app:2"), devicetest.Runs)
	s.completes("web", 2, 10)
}

// hawkbit 1770: a rollout stayed in "being created" for ever. Here a device that never
// gets past Pending is silent at its deadline, and the rollout says that it failed.
func stuckInBeingCreated(s scenario) {
	s.set("web", "app:1", `{}`)
	s.completes("web", 1, 10)
	s.fleet.Set(s.image("app:2"), devicetest.Accepts)
	s.set("web", "app:2", batched(2, "1s", "4s", ""))
	s.until("web", "is paused", func(r *v1alpha1.RolloutStatus) bool {
		return r.Phase == v1alpha1.RolloutPaused && r.Reason == v1alpha1.ReasonBatchFailed && r.Failed == 2 && r.Waiting == 8
	})
	if r, _ := s.judged("web", eventlog.RolloutBatchFailed); r.Counts == nil || r.Counts.Silent != 2 || r.Counts.Bad != 2 || len(r.Examples) != 2 {
		s.t.Errorf("batch_failed says %+v of %+v", r.Counts, r.Examples)
	}
}

// ocm 1207: a soak was counted from an older transition to
// healthy. Here it begins with the report about the assignment: neither that the device
// was healthy before, nor that it says so once more, nor that it was before it failed,
// counts.
func aSoakBeginsWithTheAssignment(s scenario) {
	const soak = 3 * time.Second
	s.set("web", "app:1", `{}`)
	s.completes("web", 1, 10) // and has been healthy for a while
	s.fleet.Set(s.image("app:2"), devicetest.Accepts)
	s.set("web", "app:2", batched(2, soak.String(), "300s", ""))
	s.until("web", "is accepted", func(r *v1alpha1.RolloutStatus) bool { return r.Revision == 2 && r.Updating == 2 })
	s.fleet.Old(s.image("app:2"))
	s.fleet.Set(s.image("app:2"), devicetest.Runs)
	s.fleet.Set(s.image("app:2"), devicetest.Fails)
	s.fleet.Set(s.image("app:2"), devicetest.Runs)
	s.completes("web", 2, 10)

	var healthy []time.Time // when each device of the first batch last said that it runs
	_, succeeded := s.judged("web", eventlog.RolloutBatchStarted)
	last := map[string]time.Time{}
	for _, e := range s.events(eventlog.StateSubject(eventlog.Wildcard, "web")) {
		if slices.Contains(s.ids, e.Address.Device) && e.Recorded.Before(succeeded) {
			last[e.Address.Device] = e.Recorded
		}
	}
	for id, images := range s.given("web") {
		if at := last[id]; len(images) == 2 && s.first(id, 2) {
			healthy = append(healthy, at)
			if took := succeeded.Sub(at); took < soak {
				s.t.Errorf("%s was proven %s after it was healthy, want at least %s", id, took, soak)
			}
		}
	}
	if len(healthy) != 2 {
		s.t.Errorf("%d devices were in the first batch, want 2", len(healthy))
	}
}

// order lists the devices as the scenario's Deployment "web" takes them.
func (s scenario) order() []string {
	ids := slices.Clone(s.ids)
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Compare(rollouttest.Order(s.ns+"/web", a), rollouttest.Order(s.ns+"/web", b))
	})
	return ids
}

func (s scenario) first(id string, n int) bool { return slices.Contains(s.order()[:n], id) }

// argo-cd 16881 and 23685: steps of one rollout, and of two, that were decided from one
// look at the cluster spent one budget twice. Here two Deployments change at once on the
// same devices, of which one of a site may be down. The laws look at each grant.
func twoDeploymentsShareABudget(s scenario) {
	names := []string{"web", "db"}
	s.bound(1)
	for _, name := range names {
		s.set(name, name+":1", `{}`)
	}
	for _, name := range names {
		s.completes(name, 1, 20)
	}
	for _, name := range names {
		s.set(name, name+":2", batched(20, "0s", "300s", ""))
	}
	for _, name := range names {
		s.completes(name, 2, 20)
		s.onceEach(name)
	}
	down, most := map[string]map[string]bool{}, 0 // by site: what the log granted and heard nothing of yet
	for _, e := range s.events(eventlog.FamilySubjects(eventlog.FamilyDesired), eventlog.FamilySubjects(eventlog.FamilyState)) {
		i := slices.Index(s.ids, e.Address.Device)
		if i < 0 || e.Type == eventlog.DesiredAssigned && e.Revision < 2 {
			continue
		}
		site := fmt.Sprint(i % 2)
		if down[site] == nil {
			down[site] = map[string]bool{}
		}
		if e.Type == eventlog.DesiredAssigned {
			down[site][e.Address.Device] = true
			most = max(most, len(down[site]))
		} else {
			delete(down[site], e.Address.Device)
		}
	}
	if most != 1 {
		s.t.Errorf("up to %d devices of a site were at work, want 1", most)
	}
}

// greengrass-nucleus 807: after one deployment had failed on a device, the next ones
// waited for ever. Here another Deployment goes on, on the broken devices too.
func aBrokenOneBlocksNoOther(s scenario) {
	s.bound(3)
	for _, name := range []string{"broken", "web"} {
		s.set(name, name+":1", `{}`)
		s.completes(name, 1, 10)
	}
	s.fleet.Set(s.image("broken:2"), devicetest.Fails)
	s.set("broken", "broken:2", batched(2, "0s", "3s", ""))
	s.until("broken", "is paused", func(r *v1alpha1.RolloutStatus) bool { return r.Phase == v1alpha1.RolloutPaused && r.Failed == 2 })
	s.set("web", "web:2", batched(2, "0s", "300s", ""))
	s.completes("web", 2, 10)
	s.until("broken", "is paused still", func(r *v1alpha1.RolloutStatus) bool { return r.Phase == v1alpha1.RolloutPaused && r.Failed == 2 })
}

// rancher/fleet 594: an offline cluster froze its partition. Here the first device of
// all is offline when the rollout starts, is back in the middle of the first batch, is
// given it in that batch, and counts there like any other.
func backInMidBatch(s scenario) {
	s.set("web", "app:1", `{}`)
	s.completes("web", 1, 10)
	away := s.order()[0]
	s.fleet.Off(away)
	s.offline(away)
	s.fleet.SetFirst(s.image("app:2"), 3)
	s.set("web", "app:2", batched(4, "1s", "300s", ""))
	s.until("web", "is in the first batch", func(r *v1alpha1.RolloutStatus) bool {
		return r.Batch == 1 && r.Healthy == 3 && r.Updating == 1 && r.Offline == 1
	})
	s.fleet.On(away)
	s.until("web", "has given it to the one that is back", func(r *v1alpha1.RolloutStatus) bool {
		return r.Batch == 1 && r.Healthy == 3 && r.Updating == 2 && r.Offline == 0
	})
	s.fleet.Set(s.image("app:2"), devicetest.Runs)
	s.completes("web", 2, 10)
	batches := map[int]int{}
	for _, e := range s.events(eventlog.DesiredSubject(eventlog.Wildcard, "web")) {
		if e.Namespace == s.ns && e.Revision == 2 {
			batches[e.Batch]++
			if e.Address.Device == away && e.Batch != 1 {
				s.t.Errorf("%s is back in mid-batch, and was given it in batch %d", away, e.Batch)
			}
		}
	}
	if batches[1] != 5 || batches[2] != 5 {
		s.t.Errorf("devices by batch: %v, want 5 and 5", batches)
	}
	want := []string{"started", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "completed"}
	if got := s.newest("web"); !slices.Equal(got, want) {
		s.t.Errorf("rollout events %v, want %v", got, want)
	}
}

// A GitOps engine fills an empty cluster, and the devices come afterwards: they are given
// what is there.
func appliedBeforeItsDevices(s scenario) {
	const settings = `{"batches":[{"size":2,"soak":"0s"},{"soak":"0s"}],"maxUnavailable":"100%"}`
	s.set("web", "app:1", settings)
	s.until("web", "waits for devices", func(r *v1alpha1.RolloutStatus) bool { return r.Phase == v1alpha1.RolloutCompleted })
	labels := map[string]map[string]string{}
	for i := range 3 {
		labels[fmt.Sprintf("%s-%03d", s.name, i)] = map[string]string{"group": s.name}
	}
	s.fleet.Join(labels)
	s.completes("web", 1, 3)
}
