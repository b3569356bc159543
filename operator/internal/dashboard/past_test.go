package dashboard_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/fleet"
)

// A page of the past is what the fold of the log gives there, as fleetctl get --at shows it.
func TestAPageOfThePastIsWhatTheFoldOfTheLogGivesThere(t *testing.T) {
	t.Parallel()
	js := newLog(t)
	story := rolloutStory(t, 30)
	publish(t, js, story)
	life := asoftest.NewLife(t, js, 20)
	life.Append(300)
	s := newSite(t, js)
	last := len(story.Events) + 300
	for range 50 {
		at := uint64(1 + rand.IntN(last))
		v, err := asof.At(t.Context(), js, asof.Moment{Sequence: at}, asof.Options{NoCheckpoints: true})
		if err != nil {
			t.Fatal(err)
		}
		c := resource.NewCatalog(v, v.Recorded)
		s.same(at, "overview", model.OverviewOf(c, false, model.Present{}))
		s.same(at, "deployments", model.DeploymentsOf(c, false, model.DeploymentFilter{Size: 100}))
		s.same(at, "devices", model.DevicesOf(c, false, model.DeviceFilter{Size: 100}))
		if r, known := model.RolloutOf(c, false, web); known {
			s.same(at, "rollouts/shop/web", r)
		}
		s.cells(at, c)
	}
}

// same holds the JSON of a moment against a model.
func (s *site) same(at uint64, path string, want any) {
	s.t.Helper()
	answer, body := s.get(fmt.Sprintf("/api/v1/%s?at=%d", path, at))
	if answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s at %d: %s: %s", path, at, answer.Status, body)
	}
	if diff := cmp.Diff(plain(s.t, want), plain(s.t, json.RawMessage(body))); diff != "" {
		s.t.Fatalf("%s at %d (-the fold +the dashboard):\n%s", path, at, diff)
	}
}

// plain is a value as JSON has it.
func plain(t testing.TB, v any) (out any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// cells holds the lists against the cells of fleetctl get's tables.
func (s *site) cells(at uint64, c *resource.Catalog) {
	s.t.Helper()
	var lists struct {
		Deployments []model.DeploymentRow
		Devices     []model.DeviceRow
	}
	for _, path := range []string{"deployments", "devices"} {
		_, body := s.get(fmt.Sprintf("/api/v1/%s?at=%d", path, at))
		if err := json.Unmarshal([]byte(body), &lists); err != nil {
			s.t.Fatal(err)
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
		s.t.Fatalf("at %d (-fleetctl get +the dashboard):\n%s", at, diff)
	}
}

func TestAMomentThatTheLogDoesNotReachIsSaidInASentence(t *testing.T) {
	t.Parallel()
	js := newLog(t)
	publish(t, js, rolloutStory(t, 3))
	s := newSite(t, js)
	for query, want := range map[string]struct {
		code int
		says string
	}{
		"/devices?at=99999":                {404, "beyond the log's end"},
		"/devices?at=18446744073709551615": {404, "beyond the log's end"},
		"/devices?at=1970-01-01T00:00:00Z": {404, "before the log begins"},
		"/devices?at=2999-01-01T00:00:00Z": {404, "yet to come"},
		"/devices?at=yesterday":            {400, "is no moment"},
		"/devices?at=-1":                   {400, "is no moment"},
		"/devices?at=18446744073709551616": {400, "is no moment"},
		"/devices?at=0x10":                 {400, "is no moment"},
		"/devices?at=5&at=6":               {400, "once"},
		"/devices?at=5%00":                 {400, "is no moment"},
		"/devices?att=5":                   {400, "did you mean at"},
		"/devices?at=%zz":                  {400, "cannot be read"},
		"/changes?from=99999":              {404, "beyond the log's end"},
		"/changes?from=1&to=99999":         {404, "beyond the log's end"},
		"/devices/nobody":                  {404, "knows no device"},
		"/devices/device-00002?at=2":       {404, "at that moment"},
		"/deployments/shop/nothing":        {404, "knows no Deployment"},
		"/rollouts/shop/nothing":           {404, "knows no Deployment"},
		"/deployments/shop/web?compare=0":  {400, "no number"},
		"/devices?state=wet":               {400, "is none of"},
		"/devices?selector=a%3D%3D%3Db":    {400, "is no selector"},
		"/devices?deployment=web":          {400, "NAMESPACE/NAME"},
		"/devices?size=1001":               {400, "above 1000"},
		"/devices?page=-1":                 {400, "no number"},
		"/devices/..%2f..%2fdeployments":   {400, "device"},
		"/nothing":                         {404, "no such page"},
	} {
		for _, prefix := range []string{"", "/api/v1"} {
			answer, body := s.get(prefix + query)
			if answer.StatusCode != want.code || !strings.Contains(strings.ReplaceAll(body, "&#39;", "'"), want.says) {
				t.Errorf("%s%s answers %d, want %d with %q: %s", prefix, query, answer.StatusCode, want.code, want.says, body)
			}
		}
	}
}

// Pages that one opens one after the other at "-5m" are of one moment, which is kept.
func TestATimeThatIsToldFromNowStandsStillForAWhile(t *testing.T) {
	t.Parallel()
	js := newLog(t)
	publish(t, js, rolloutStory(t, 3))
	var c clock
	s := newSite(t, js, c.of)
	c.moved.Store(int64(10 * time.Minute))
	clocks := map[time.Time]bool{}
	for _, path := range []string{"overview", "deployments", "devices", "rollouts/shop/web"} {
		_, body := s.get("/api/v1/" + path + "?at=-5m")
		var m struct{ Moment model.Moment }
		if err := json.Unmarshal([]byte(body), &m); err != nil || m.Moment.Clock.IsZero() {
			t.Fatalf("%v: %s", err, body)
		}
		clocks[m.Moment.Clock] = true
		c.moved.Add(int64(time.Second + time.Millisecond))
	}
	if len(clocks) != 1 {
		t.Errorf("within 4 s they are of %d moments: %v", len(clocks), clocks)
	}
}
