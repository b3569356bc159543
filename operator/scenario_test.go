package operator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/devicetest"
	"fleet.nationtech.io/eventlog/reader"
)

// scenario is one story of a rollout. It has devices, with labels of their own, and the
// Deployments that it makes; the operator, NATS and Kubernetes are all scenarios'.
type scenario struct {
	*world
	name  string
	ns    string
	fleet *devicetest.Fleet
	ids   []string // its devices, whose label group is its name; site says which half they are of
}

// scenarios are the stories, with how many devices each has.
var scenarios = map[string]struct {
	devices int
	tell    func(scenario)
}{
	"a fifth of the devices are offline": {200, aFifthIsOffline},
	"superseded in mid-rollout":          {100, supersededTwice},
	"two persons":                        {10, twoPersons},
	"a pause outlives gitops":            {10, aPauseOutlivesGitOps},
	"an undo outlives gitops":            {10, anUndoOutlivesGitOps},
	"accepted is not healthy":            {10, acceptedIsNotHealthy},
	"stuck in being created":             {10, stuckInBeingCreated},
	"a soak begins with the assignment":  {10, aSoakBeginsWithTheAssignment},
	"two deployments share a budget":     {20, twoDeploymentsShareABudget},
	"a broken one blocks no other":       {10, aBrokenOneBlocksNoOther},
	"back in mid-batch":                  {10, backInMidBatch},
	"applied before its devices":         {0, appliedBeforeItsDevices},
	"a window closes in mid-rollout":     {20, aWindowClosesInMidRollout},
	"a rate grows":                       {200, aRateGrows},
}

// One operator, 600 devices, and at the same time all that people, GitOps and devices do
// to rollouts, and what other fleets' tools were caught at. At the end the whole log
// obeys the laws, and no status that was ever seen had standings that do not add up.
func TestRolloutScenarios(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := install.Policies(ctx, w.api.Config); err != nil {
		t.Fatal(err)
	}
	if err := install.AwaitPolicies(ctx, w.api.Config); err != nil {
		t.Fatal(err)
	}
	op := w.operate(pulsed)
	w.logged()
	labels, ids := map[string]map[string]string{}, map[string][]string{}
	for name, s := range scenarios {
		group := strings.ReplaceAll(name, " ", "-")
		for i := range s.devices {
			id := fmt.Sprintf("%s-%03d", group, i)
			labels[id] = map[string]string{"group": group, "site": fmt.Sprint(group, "-", i%2)}
			ids[name] = append(ids[name], id)
		}
	}
	fleet := devicetest.Start(t, w.nc, w.js, labels)
	eventually(t, "all devices are online, and the log knows their labels", func() string {
		online, labelled := op.metricOf(t, "fleet_operator_devices", "True"), 0
		for _, e := range w.events(eventlog.FamilySubjects(eventlog.FamilyDevice)) {
			if e.Type == eventlog.DeviceRelabeled {
				labelled++
			}
		}
		if int(online) != len(labels) || labelled != len(labels) {
			return fmt.Sprint(online, " and ", labelled)
		}
		return ""
	})
	sums := w.watchStandings()
	var all sync.WaitGroup
	for name, s := range scenarios {
		ns := w.api.Namespace(t)
		all.Go(func() {
			t.Run(name, func(t *testing.T) {
				own := *w
				own.t = t
				s.tell(scenario{world: &own, name: strings.ReplaceAll(name, " ", "-"), ns: ns, fleet: fleet, ids: ids[name]})
			})
		})
	}
	all.Wait()
	sums(len(scenarios))
	w.lawful()
}

// watchStandings watches the statuses of all Deployments, and says at the end whether
// the six standings always added up to the devices that match (hawkbit 1400: the
// numbers of a rollout do not add up).
func (w *world) watchStandings() (end func(least int)) {
	w.t.Helper()
	watch, err := w.fleet.FleetV1alpha1().Deployments("").Watch(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	seen, bad := 0, []string{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range watch.ResultChan() {
			d, ok := e.Object.(*v1alpha1.Deployment)
			if !ok || d.Status.Rollout == nil || d.Status.Aggregate == nil {
				continue
			}
			seen++
			r := d.Status.Rollout
			if sum := r.Healthy + r.Skipped + r.Failed + r.Offline + r.Updating + r.Waiting; sum != d.Status.Aggregate.MatchedDeviceCount {
				bad = append(bad, fmt.Sprintf("%s: %d of %d: %+v", d.Name, sum, d.Status.Aggregate.MatchedDeviceCount, *r))
			}
		}
	}()
	return func(least int) {
		watch.Stop()
		<-done
		if len(bad) > 0 {
			w.t.Errorf("standings do not add up in %d of %d statuses: %s", len(bad), seen, bad[0])
		}
		if seen < 4*least {
			w.t.Errorf("%d statuses were seen, and this shows nothing", seen)
		}
	}
}

// batched is spec.rollout of a scenario: a first batch, and the rest.
func batched(size int, soak, deadline, more string) string {
	return fmt.Sprintf(`{"batches":[{"size":%d,"soak":%q},{"soak":"0s"}],"maxUnavailable":"100%%","progressDeadline":%q%s}`, size, soak, deadline, more)
}

// manifest is the Deployment as a GitOps engine has it.
func (s scenario) manifest(name, image, rollout string) string {
	return fmt.Sprintf(`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":%q,"namespace":%q},
		"spec":{"targetSelector":{"matchLabels":{"group":%q}},"score":{"type":"PodmanV0","data":{"services":[{"name":"main","image":%q}]}},"rollout":%s}}`,
		name, s.ns, s.name, s.image(image), rollout)
}

// image gives an image a name of the scenario's own.
func (s scenario) image(image string) string { return s.name + "/" + image }

// applies is server-side apply by a field manager, as a user.
func (s scenario) applies(user, manager, name, image, rollout string) *v1alpha1.Deployment {
	s.t.Helper()
	force := true
	d, err := s.person(user).FleetV1alpha1().Deployments(s.ns).Patch(s.t.Context(), name, types.ApplyPatchType, []byte(s.manifest(name, image, rollout)),
		metav1.PatchOptions{FieldManager: manager, Force: &force})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s scenario) set(name, image, rollout string) {
	s.t.Helper()
	s.applies("alice", "kubectl", name, image, rollout)
}

// until waits for a Deployment's rollout of its newest generation.
func (s scenario) until(name, what string, holds func(*v1alpha1.RolloutStatus) bool) *v1alpha1.RolloutStatus {
	s.t.Helper()
	var r *v1alpha1.RolloutStatus
	eventually(s.t, name+" "+what, func() string {
		d := s.deployment(s.ns, name)
		if r = d.Status.Rollout; r == nil || d.Status.ObservedGeneration != d.Generation || !holds(r) {
			return fmt.Sprintf("generation %d of %d: %+v", d.Status.ObservedGeneration, d.Generation, r)
		}
		return ""
	})
	return r
}

// completes waits until a revision is on that many devices.
func (s scenario) completes(name string, revision int64, healthy int) {
	s.t.Helper()
	s.until(name, fmt.Sprint("completes revision ", revision), func(r *v1alpha1.RolloutStatus) bool {
		return r.Phase == v1alpha1.RolloutCompleted && r.Revision == revision && int(r.Healthy) == healthy
	})
}

// ask asks for something about a rollout as fleetctl does, and gives what answered.
func (s scenario) ask(verb, name string, r *v1alpha1.RolloutStatus) eventlog.Rollout {
	s.t.Helper()
	d, err := eventlog.NewDraft(eventlog.RequestSubject("ada", s.ns, name), eventlog.RequestMade, time.Now(), eventlog.Request{
		Verb: verb, Reason: "the test wants it", Revision: uint64(r.Revision), Run: uint64(r.Run), Batch: int(r.Batch),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	sequence, err := appender.Unfenced(s.t.Context(), s.js, "test", d)
	if err != nil {
		s.t.Fatal(err)
	}
	var answer eventlog.Rollout
	eventually(s.t, verb+" is answered", func() string {
		for _, e := range s.events(eventlog.DeploymentSubject(s.ns, name)) {
			p, err := eventlog.Payload[eventlog.Rollout](e)
			if strings.HasPrefix(string(e.Type), "rollout.") && err == nil && p.Request == sequence {
				answer = p
				if e.Type == eventlog.RolloutRequestRefused {
					answer.Kind = "refused"
				}
				return ""
			}
		}
		return "no answer"
	})
	return answer
}

func (w *world) events(subjects ...string) (all []eventlog.Event) {
	w.t.Helper()
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: subjects}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// told lists the rollout events of a Deployment from the newest start on.
func (s scenario) newest(name string) []string {
	s.t.Helper()
	all := s.rollouts(s.ns, name)
	for i, said := range slices.Backward(all) {
		if said == "started" {
			return all[i:]
		}
	}
	return nil
}

// given lists, by device, the images that a Deployment gave it, in order.
func (s scenario) given(name string) map[string][]string {
	s.t.Helper()
	by := map[string][]string{}
	for _, e := range s.events(eventlog.DesiredSubject(eventlog.Wildcard, name)) {
		if e.Type != eventlog.DesiredAssigned || e.Namespace != s.ns {
			continue
		}
		_, rest, _ := strings.Cut(string(e.Data), `"image":"`+s.name+"/")
		image, _, _ := strings.Cut(rest, `"`)
		by[e.Address.Device] = append(by[e.Address.Device], image)
	}
	return by
}

// have is how many devices a Deployment ever gave an image to.
func (s scenario) have(name, image string) (n int) {
	s.t.Helper()
	for _, images := range s.given(name) {
		if slices.Contains(images, image) {
			n++
		}
	}
	return n
}

// onceEach fails where a device was given an image twice: it went back and forth.
func (s scenario) onceEach(name string) {
	s.t.Helper()
	for id, images := range s.given(name) {
		seen := slices.Clone(images)
		slices.Sort(seen)
		if len(slices.Compact(seen)) != len(images) {
			s.t.Errorf("%s was given %v", id, images)
		}
	}
}

// judged gives the newest event of a type about a Deployment's rollout.
func (s scenario) judged(name string, of eventlog.Type) (eventlog.Rollout, time.Time) {
	s.t.Helper()
	for _, e := range slices.Backward(s.events(eventlog.DeploymentSubject(s.ns, name))) {
		if e.Type != of {
			continue
		}
		var r eventlog.Rollout
		if err := json.Unmarshal(e.Data, &r); err != nil {
			s.t.Fatal(err)
		}
		return r, e.Recorded
	}
	s.t.Fatalf("no %s of %s", of, name)
	return eventlog.Rollout{}, time.Time{}
}

// offline waits until the log knows that devices are.
func (s scenario) offline(ids ...string) {
	s.t.Helper()
	eventually(s.t, "devices are offline", func() string {
		off := map[string]bool{}
		for _, e := range s.events(eventlog.FamilySubjects(eventlog.FamilyDevice)) {
			if e.Type == eventlog.DeviceOnline || e.Type == eventlog.DeviceOffline {
				off[e.Address.Device] = e.Type == eventlog.DeviceOffline
			}
		}
		n := 0
		for _, id := range ids {
			if off[id] {
				n++
			}
		}
		if n < len(ids) {
			return fmt.Sprintf("%d of %d are", n, len(ids))
		}
		return ""
	})
}

// bound applies a DisruptionBudget of the scenario's devices for each site.
func (s scenario) bound(maxUnavailable int) {
	s.t.Helper()
	n := intstr.FromInt(maxUnavailable)
	_, err := s.world.fleet.FleetV1alpha1().DisruptionBudgets().Create(s.t.Context(), &v1alpha1.DisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: s.name},
		Spec: v1alpha1.DisruptionBudgetSpec{
			Selector: metav1.LabelSelector{MatchLabels: map[string]string{"group": s.name}}, MaxUnavailable: &n, GroupBy: []string{"site"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "the budget is in force", func() string {
		b := s.budget(s.name)
		if int(b.Status.Matched) != len(s.ids) {
			return fmt.Sprintf("%+v", b.Status)
		}
		return ""
	})
}
