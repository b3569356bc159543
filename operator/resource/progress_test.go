package resource_test

import (
	"encoding/json"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// A rollout that will not start is not said to be about to: the Deployment ended, or its spec goes to
// no device.
func TestARolloutThatDoesNotStartSaysWhy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		story              func(t *testing.T) *storytest.Story
		state, reason, do  string
		message, condition string
	}{
		"the Deployment ended in the middle of one": {func(t *testing.T) *storytest.Story {
			s := rolling(t)
			s.End(web, eventlog.DeploymentDeleted, "CRDeleted")
			return s
		}, "Deleted", "Deleted", "", "the Deployment ended", "Progressing=False Deleted"},
		"the type of the score is not known": {func(t *testing.T) *storytest.Story {
			s := storytest.New(t)
			s.Apply(web, 1, json.RawMessage(`{"data":{},"type":"PodmanV9"}`))
			return s
		}, "NotStarted", "UnsupportedScore", "correct the spec: kubectl edit fleetdep web -n shop", `"PodmanV9" is not known`, "Progressing=False UnsupportedScore"},
		"the newest score is invalid": {func(t *testing.T) *storytest.Story {
			s := released(t)
			s.Apply(web, 2, json.RawMessage(`{"data":{"services":[]},"type":"PodmanV0"}`))
			return s
		}, "NotStarted", "InvalidScore", "correct the spec: kubectl edit fleetdep web -n shop", "services", "Progressing=False InvalidScore"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tt.story(t)
			c := resource.NewCatalog(s.Fleet(timeline.Options{}), s.Now())
			p, ok := c.Progress(web, 3)
			if !ok || p.State != tt.state || p.Reason != tt.reason || p.Do != tt.do || !strings.Contains(p.Message, tt.message) {
				t.Errorf("%s, %s: %s; to do: %s", p.State, p.Reason, p.Message, p.Do)
			}
			var said struct {
				Status struct {
					Conditions []struct{ Type, Status, Reason string }
				}
			}
			b, err := json.Marshal(resource.Deployments().Show(c, web).Object)
			if err == nil {
				err = json.Unmarshal(b, &said)
			}
			if err != nil {
				t.Fatal(err)
			}
			all := map[string]bool{}
			for _, cond := range said.Status.Conditions {
				all[cond.Type+"="+cond.Status+" "+cond.Reason] = true
				if cond.Type == "Reconciling" {
					t.Error("the Deployment has the condition Reconciling")
				}
			}
			if !all[tt.condition] {
				t.Errorf("conditions %v, want %s", all, tt.condition)
			}
		})
	}
}

// A run that was on its way when its Deployment was deleted is over.
func TestARunEndsWithItsDeployment(t *testing.T) {
	t.Parallel()
	s := rolling(t)
	s.End(web, eventlog.DeploymentDeleted, "CRDeleted")
	rs, err := resource.RevisionsOf(s.Fleet(timeline.Options{}), web, func(yield func(eventlog.Event, error) bool) {
		for _, e := range s.Events {
			if e.Subject == eventlog.DeploymentSubject(web.Namespace, web.Name) && !yield(e, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rs.Revisions {
		for _, run := range r.Runs {
			got = append(got, run.Result)
			if run.Ended == nil {
				t.Errorf("the run of revision %d goes on", r.Revision)
			}
		}
	}
	if want := "completed deleted"; strings.Join(got, " ") != want {
		t.Errorf("the runs are %v, want %s", got, want)
	}
}
