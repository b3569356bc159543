package endpoint_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/projections/storytest"
)

// However many Deployments need a person, and however many revisions one has, a page shows the
// first of them, says how many more there are, and which command has them.
func TestAPageOfMuchIsBoundedAndSaysHowMuchMoreThereIs(t *testing.T) {
	t.Parallel()
	const deployments, revisions, runs = 60, 55, 13
	story := storytest.New(t)
	story.Device("pi-1", map[string]string{"site": "lab"})
	story.Online("pi-1")
	for i := range deployments {
		key := storytest.Key("shop", fmt.Sprintf("app-%02d", i))
		story.Apply(key, 1, storytest.Podman("registry.example/app:1"), storytest.Batched)
		story.Start(key, 1, 1)
		story.Run(key, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Reason: "BatchFailed", Message: "it failed"})
	}
	for revision := uint64(1); revision <= revisions; revision++ {
		story.Apply(dashboardtest.Web, revision, storytest.Podman(fmt.Sprintf("registry.example/web:%d", revision)), storytest.Batched)
		story.Start(dashboardtest.Web, revision, 1)
	}
	for range runs - 1 {
		story.Start(dashboardtest.Web, revisions, 1)
	}
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)

	var overview model.Overview
	_, body := s.Get("/api/v1/overview")
	if err := json.Unmarshal([]byte(body), &overview); err != nil {
		t.Fatal(err)
	}
	if len(overview.Attention) != 50 || overview.MoreAttention < deployments-50 {
		t.Errorf("the overview has %d items and %d more", len(overview.Attention), overview.MoreAttention)
	}
	if _, body = s.Get("/"); !strings.Contains(body, fmt.Sprintf("and %d more: <code>fleetctl top</code>", overview.MoreAttention)) {
		t.Errorf("the overview does not say how much more there is:\n%s", body)
	}

	var d model.Deployment
	_, body = s.Get("/api/v1/deployments/shop/web?compare=2&with=3")
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Revisions) != 50 || d.Revisions[0].Revision != revisions || d.EarlierRevisions != revisions-50 || len(d.Revisions[0].Runs) != 10 || d.EarlierRuns != runs-10 {
		t.Errorf("there are %d revisions and %d more, the newest has %d runs, and there are %d more", len(d.Revisions), d.EarlierRevisions, len(d.Revisions[0].Runs), d.EarlierRuns)
	}
	if d.Diff == nil || d.Diff.From != 2 || len(d.Diff.Fields) == 0 {
		t.Errorf("revisions that are left out are not compared: %+v", d.Diff)
	}
	_, body = s.Get("/deployments/shop/web?compare=2&with=3")
	for _, want := range []string{"and 5 earlier revisions, and 3 earlier runs of these: <code>fleetctl rollout history web -n shop</code>", "<option selected>2</option>", "<option selected>3</option>"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
}
