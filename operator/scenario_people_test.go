package operator_test

import (
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/devicetest"
)

// A batch with fourEyes waits for another person than the author; one that is manual
// alone, for anybody. Who speaks of a batch that is over is refused.
func twoPersons(s scenario) {
	s.set("web", "app:1", `{}`)
	s.completes("web", 1, 10)
	s.set("web", "app:2", `{"batches":[{"size":2,"soak":"0s","approval":"Manual","fourEyes":true},{"size":5,"soak":"0s","approval":"Manual"},{"soak":"0s"}],"maxUnavailable":"100%"}`)
	waits := func(batch int32, reason string) *v1alpha1.RolloutStatus {
		s.t.Helper()
		return s.until("web", fmt.Sprintf("waits after batch %d: %s", batch, reason), func(r *v1alpha1.RolloutStatus) bool {
			return r.Revision == 2 && r.Batch == batch && r.Reason == reason
		})
	}
	annotate := func(person, value string) *v1alpha1.Deployment {
		s.t.Helper()
		merge := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, v1alpha1.AnnotationPromote, value)
		d, err := s.person(person).FleetV1alpha1().Deployments(s.ns).Patch(s.t.Context(), "web", types.MergePatchType, []byte(merge), metav1.PatchOptions{FieldManager: "kubectl-annotate"})
		if err != nil {
			s.t.Fatal(err)
		}
		return d
	}
	promote := func(person string, r *v1alpha1.RolloutStatus) *v1alpha1.Deployment {
		s.t.Helper()
		return annotate(person, fmt.Sprintf(`"%d.%d.%d"`, r.Revision, r.Run, r.Batch))
	}
	r := waits(1, v1alpha1.ReasonAwaitingApproval)
	if answer := s.ask(eventlog.RequestPromote, "web", r); answer.Kind != "refused" || answer.Reason != "FourEyes" {
		s.t.Errorf("a promotion by a user of NATS: %+v", answer)
	}
	promote("alice", r)
	r = waits(1, v1alpha1.ReasonApproverUnknown)
	if !strings.Contains(r.Message, "alice made the change and promoted it: another person has to") {
		s.t.Errorf("the author promoted: %s", r.Message)
	}
	if n := s.have("web", "app:2"); n != 2 {
		s.t.Errorf("%d devices were given what one person alone wanted, want 2", n)
	}
	// The same again: he is not stamped. The status says the same before and after it, so
	// what the API server stored is looked at.
	if by := promote("bob", r).Annotations[v1alpha1.AnnotationPromotedBy]; by != "alice" {
		s.t.Errorf("bob set what alice had set, and the stamp is of %q", by)
	}
	if r = waits(1, v1alpha1.ReasonApproverUnknown); !strings.Contains(r.Message, "take the annotation away and set it again") {
		s.t.Errorf("what to do: %s", r.Message)
	}
	annotate("bob", "null")
	promote("bob", r)
	late := *r
	r = waits(2, v1alpha1.ReasonAwaitingApproval)
	if answer := s.ask(eventlog.RequestPromote, "web", &late); answer.Kind != "refused" || answer.Reason != "Outdated" {
		s.t.Errorf("a promotion of the batch before: %+v", answer)
	}
	if n := s.have("web", "app:2"); n != 5 {
		s.t.Errorf("%d devices have revision 2 after the second batch, want 5", n)
	}
	if answer := s.ask(eventlog.RequestPromote, "web", r); answer.Kind == "refused" {
		s.t.Errorf("a promotion of a manual batch: %+v", answer)
	}
	s.completes("web", 2, 10)
	var by []string
	for _, e := range s.events(eventlog.DeploymentSubject(s.ns, "web")) {
		if e.Type == eventlog.RolloutPromoted {
			by = append(by, e.Actor)
		}
	}
	if diff := cmp.Diff([]string{"bob", "ada"}, by); diff != "" {
		s.t.Errorf("promoted by (-want +got):\n%s", diff)
	}
}

// A person's pause holds whatever a GitOps engine applies: the same again, other
// settings, a new content. Only a person takes it back.
func aPauseOutlivesGitOps(s scenario) {
	const settings = `{"batches":[{"size":2,"soak":"0s"},{"soak":"0s"}],"maxUnavailable":"%s","progressDeadline":"300s"}`
	gitops := func(image, most string) {
		s.t.Helper()
		s.applies("system:serviceaccount:argocd:argocd", "argocd", "web", image, fmt.Sprintf(settings, most))
	}
	gitops("app:1", "100%")
	s.completes("web", 1, 10)
	s.fleet.SetFirst(s.image("app:2"), 1)
	gitops("app:2", "100%")
	r := s.until("web", "is given to the first batch", func(r *v1alpha1.RolloutStatus) bool {
		return r.Revision == 2 && r.Healthy == 1 && r.Updating == 1
	})
	s.ask(eventlog.RequestPause, "web", r)
	held := func(revision int64) *v1alpha1.RolloutStatus {
		s.t.Helper()
		return s.until("web", fmt.Sprint("is held at revision ", revision), func(r *v1alpha1.RolloutStatus) bool {
			return r.Held && r.Revision == revision
		})
	}
	held(2)
	s.fleet.Set(s.image("app:2"), devicetest.Runs) // the batch would be through
	gitops("app:2", "100%")
	gitops("app:2", "50%")
	held(2)
	gitops("app:3", "50%")
	r = held(3)
	if two, three := s.have("web", "app:2"), s.have("web", "app:3"); two != 2 || three != 0 {
		s.t.Errorf("under a hold %d devices have app:2 and %d app:3, want 2 and none", two, three)
	}
	s.ask(eventlog.RequestResume, "web", r)
	s.completes("web", 3, 10)
	s.onceEach("web")
}

// What a person undid is not redone by a GitOps engine that applies it again, by
// whatever manager, at whatever generation; a new content is brought out.
func anUndoOutlivesGitOps(s scenario) {
	const settings = `{"batches":[{"size":2,"soak":"0s"},{"soak":"0s"}],"maxUnavailable":"%s"}`
	gitops := func(manager, image, most string) {
		s.t.Helper()
		s.applies("system:serviceaccount:gitops:"+manager, manager, "web", image, fmt.Sprintf(settings, most))
	}
	gitops("argocd", "app:1", "100%")
	s.completes("web", 1, 10)
	gitops("argocd", "app:2", "100%")
	s.completes("web", 2, 10)
	s.ask(eventlog.RequestUndo, "web", s.deployment(s.ns, "web").Status.Rollout)
	rolledBack := func() {
		s.t.Helper()
		s.until("web", "is rolled back", func(r *v1alpha1.RolloutStatus) bool {
			return r.Phase == v1alpha1.RolloutRolledBack && r.Revision == 1 && r.Healthy == 10
		})
	}
	rolledBack()
	for _, again := range []struct{ manager, most string }{{"argocd", "100%"}, {"flux", "100%"}, {"argocd", "50%"}, {"flux", "40%"}} {
		gitops(again.manager, "app:2", again.most)
		rolledBack()
	}
	if diff := cmp.Diff([]string{"started", "rolled_back"}, s.newest("web")); diff != "" {
		s.t.Errorf("rollout events since the undo (-want +got):\n%s", diff)
	}
	for id, images := range s.given("web") {
		if diff := cmp.Diff([]string{"app:1", "app:2", "app:1"}, images); diff != "" {
			s.t.Errorf("%s was given (-want +got):\n%s", id, diff)
		}
	}
	gitops("argocd", "app:3", "100%")
	s.completes("web", 3, 10)
}
