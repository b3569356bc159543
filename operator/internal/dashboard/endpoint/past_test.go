package endpoint_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

// A page of the past is what the fold of the log gives there, as fleetctl get --at shows it.
func TestAPageOfThePastIsWhatTheFoldOfTheLogGivesThere(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 30)
	dashboardtest.Publish(t, js, story)
	life := asoftest.NewLife(t, js, 20)
	life.Append(300)
	s := dashboardtest.New(t, js)
	last := len(story.Events) + 300
	for range 50 {
		at := uint64(1 + rand.IntN(last))
		v, err := asof.At(t.Context(), js, asof.Moment{Sequence: at}, asof.Options{NoCheckpoints: true})
		if err != nil {
			t.Fatal(err)
		}
		whole(s, fmt.Sprintf("?at=%d", at), resource.NewCatalog(v, v.Recorded))
	}
}

// A page of the past as it happened is what fleetctl get --at --as-happened shows, and says in
// how many things that differs from what the log knew.
func TestAPageOfThePastAsItHappenedIsWhatHadHappenedByThen(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 10)
	dashboardtest.Publish(t, js, story)
	life := asoftest.NewLife(t, js, 20)
	life.Append(300)
	last, differ := len(story.Events)+300, 0
	// A device was offline, and reports at the end what failed long before.
	early, err := reader.MessageAt(t.Context(), js, eventlog.LogStream, uint64(last/4))
	if err != nil {
		t.Fatal(err)
	}
	late, err := eventlog.NewDraft(eventlog.StateSubject("device-00005", "web"), eventlog.StateReported, early.Time, eventlog.DeploymentState{
		DeviceID: "device-00005", Deployment: "web", Phase: eventlog.PhaseFailed, Reason: "CrashLoop", LastEventAt: early.Time, Revision: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), late.Message("test", "late")); err != nil {
		t.Fatal(err)
	}
	s := dashboardtest.New(t, js)
	for range 50 {
		at := uint64(1 + rand.IntN(last))
		known, err := asof.At(t.Context(), js, asof.Moment{Sequence: at}, asof.Options{NoCheckpoints: true})
		if err != nil {
			t.Fatal(err)
		}
		v, err := asof.At(t.Context(), js, asof.Moment{Sequence: at}, asof.Options{AsHappened: true})
		if err != nil {
			t.Fatal(err)
		}
		changes := len(viewdiff.Between(known, v))
		differ += min(changes, 1)
		v.Sequence, v.Recorded = known.Sequence, known.Recorded // the moment's own place
		c := resource.NewCatalog(v, known.Recorded)
		c.Happened = true
		query := fmt.Sprintf("?at=%d&as=happened", at)
		whole(s, query, c)
		_, body := s.Get("/devices" + query)
		if want := fmt.Sprintf(`as=both&amp;from=%d&amp;to=%d">%d thing`, at, at, changes); !strings.Contains(body, want) {
			t.Fatalf("the page does not say %s:\n%s", want, body)
		}
		_, body = s.Get(fmt.Sprintf("/api/v1/changes?from=%d&to=%d&as=both", at, at))
		if want := fmt.Sprintf(`"total":%d,`, changes); !strings.Contains(body, want) {
			t.Fatalf("the comparison has not %s:\n%s", want, body)
		}
	}
	if differ < 20 {
		t.Errorf("at %d moments of 50 the two differ: the story proves little", differ)
	}
}

// whole holds what is shown of a moment against a catalog of it.
func whole(s *dashboardtest.Site, query string, c *resource.Catalog) {
	s.T.Helper()
	same(s, "overview"+query, model.OverviewOf(c, false, model.Present{}))
	same(s, "deployments"+query, model.DeploymentsOf(c, false, model.DeploymentFilter{Size: 100}))
	same(s, "devices"+query, model.DevicesOf(c, false, model.DeviceFilter{Size: 100}))
	if r, known := model.RolloutOf(c, false, dashboardtest.Web); known {
		same(s, "rollouts/shop/web"+query, r)
	}
	cells(s, query, c)
}

// same holds the JSON of a moment against a model.
func same(s *dashboardtest.Site, path string, want any) {
	s.T.Helper()
	answer, body := s.Get("/api/v1/" + path)
	if answer.StatusCode != http.StatusOK {
		s.T.Fatalf("%s: %s: %s", path, answer.Status, body)
	}
	if diff := cmp.Diff(dashboardtest.Plain(s.T, want), dashboardtest.Plain(s.T, json.RawMessage(body))); diff != "" {
		s.T.Fatalf("%s (-the fold +the dashboard):\n%s", path, diff)
	}
}

// cells holds the lists against the cells of fleetctl get's tables.
func cells(s *dashboardtest.Site, query string, c *resource.Catalog) {
	s.T.Helper()
	var lists struct {
		Deployments []model.DeploymentRow
		Devices     []model.DeviceRow
	}
	for _, path := range []string{"deployments", "devices"} {
		_, body := s.Get("/api/v1/" + path + query)
		if err := json.Unmarshal([]byte(body), &lists); err != nil {
			s.T.Fatal(err)
		}
	}
	var want, got []string
	for _, key := range resource.Deployments().Keys(c) {
		want = append(want, key.String()+" "+strings.Join(resource.Deployments().Show(c, key).Cells[:6], " "))
	}
	for _, r := range lists.Deployments {
		got = append(got, fmt.Sprintf("%s %s %s %d %d %d %d", fleet.Key{Namespace: r.Namespace, Name: r.Name}, r.Ready, r.Reason, r.Matched, r.Succeeded, r.Failed, r.Pending))
	}
	for _, key := range resource.Devices().Keys(c) {
		want = append(want, key.Name+" "+strings.Join(resource.Devices().Show(c, key).Cells[1:5], " "))
	}
	for _, r := range lists.Devices {
		got = append(got, fmt.Sprintf("%s %s %d %d %d", r.ID, r.Agent, r.Running, r.Failed, r.Pending))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.T.Fatalf("%s (-fleetctl get +the dashboard):\n%s", query, diff)
	}
}
