package endpoint_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/projections/viewdiff"
)

// A comparison has both of its ends in its address, on one slider, and each goes to the changes
// before and after it; its lists are filtered.
func TestAComparisonHasTwoHandlesAndIsFiltered(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	last := len(story.Events)
	_, body := s.Get("/changes?from=5&to=20&about=state&name=device-00001")
	for _, want := range []string{
		fmt.Sprintf(`name="from" min="1" max="%d" value="5"`, last), fmt.Sprintf(`name="to" min="1" max="%d" value="20"`, last),
		`type="hidden" name="about" value="state"`, `type="hidden" name="name" value="device-00001"`, `href="/?at=20"`, `value="state" selected`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the comparison has no %s:\n%s", want, body)
		}
	}
	on := map[uint64]bool{} // events that change what is compared
	for i, e := range story.Events {
		on[uint64(i+1)] = e.Address.Family == eventlog.FamilyState
	}
	for _, step := range []struct {
		name string
		at   int
	}{{"from", 5}, {"to", 20}} {
		for n := step.at + 1; n <= last; n++ {
			if on[uint64(n)] {
				other := map[string]string{"from": fmt.Sprintf("from=%d&amp;name=device-00001&amp;to=20", n), "to": fmt.Sprintf("from=5&amp;name=device-00001&amp;to=%d", n)}[step.name]
				if !strings.Contains(body, other+`">next change →`) {
					t.Errorf("the next change of %s is not event %d:\n%s", step.name, n, body)
				}
				break
			}
		}
	}
	var all model.Changes
	for query, only := range map[string]func(viewdiff.Change) bool{
		"": func(viewdiff.Change) bool { return true }, "&about=device": func(c viewdiff.Change) bool { return c.About == viewdiff.AboutDevice },
		"&about=state&name=00001": func(c viewdiff.Change) bool { return c.About == viewdiff.AboutState && c.Device == "device-00001" },
		"&name=shop/web":          func(c viewdiff.Change) bool { return c.Deployment == "web" },
	} {
		_, text := s.Get("/api/v1/changes?from=2&size=1000" + query)
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
		for _, c := range all.Changes {
			if !only(c) {
				t.Errorf("with %s there is %+v", query, c)
			}
		}
		if len(all.Changes) == 0 {
			t.Errorf("with %s nothing differs", query)
		}
	}
	if _, body = s.Get("/changes?from=20&to=5"); !strings.Contains(body, "The first moment is the later one") || !strings.Contains(body, `href="/changes?from=5&amp;to=20">Swap`) {
		t.Errorf("a comparison backwards does not say so:\n%s", body)
	}
	if _, body = s.Get("/changes?from=2&to=20&as=happened"); !strings.Contains(body, `href="/devices/device-00001?as=happened&amp;at=20"`) {
		t.Errorf("what differs does not lead to the second moment:\n%s", body)
	}
	for query, want := range map[string]string{"about=weather": "is none of", "from=nonsense": "is no moment", "as=maybe": "is none of"} {
		if answer, body := s.Get("/changes?" + query); answer.StatusCode != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("/changes?%s answers %s: %s", query, answer.Status, body)
		}
	}
}
