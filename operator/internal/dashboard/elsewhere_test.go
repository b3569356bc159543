package dashboard_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
)

// Where there is not what a person looks for, the page says where to look.
func TestWhatIsNotThereLeadsOn(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	ended := story.End(dashboardtest.Web, eventlog.DeploymentDeleted, "CRDeleted")
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	for _, tt := range []struct {
		path string
		code int
		has  []string
	}{
		{"/devices/nobody", http.StatusNotFound, []string{`href="/devices"`, `href="/events?device=nobody"`}},
		{"/deployments/shop/nothing", http.StatusNotFound, []string{`href="/deployments"`, `href="/events?deployment=nothing&amp;namespace=shop"`}},
		{"/rollouts/shop/nothing/pause", http.StatusNotFound, []string{"no Deployment shop/nothing", `href="/events?deployment=nothing&amp;namespace=shop"`}},
		{"/devices/nobody/ping", http.StatusNotFound, []string{"no device nobody"}},
		{"/deployments/shop/web", http.StatusOK, []string{fmt.Sprintf(`<a href="/deployments/shop/web?at=%d">as it was before</a>`, ended-1), fmt.Sprintf(`href="/events/%d"`, ended)}},
		{"/rollouts/shop/web", http.StatusOK, []string{"the Deployment ended", "Nothing: it ended."}},
		{"/nothing/", http.StatusNotFound, []string{"There is no such page."}},
	} {
		answer, body := s.Get(tt.path)
		if answer.StatusCode != tt.code {
			t.Errorf("%s answers %s", tt.path, answer.Status)
		}
		for _, has := range tt.has {
			if !strings.Contains(body, has) {
				t.Errorf("%s has no %s:\n%s", tt.path, has, body)
			}
		}
	}
	for path, want := range map[string]string{
		"/devices/?state=failing":       "/devices?state=failing",
		"/deployments/shop/web/":        "/deployments/shop/web",
		"/api/v1/devices/device-00001/": "/api/v1/devices/device-00001",
	} {
		if answer, _ := s.Get(path); answer.StatusCode != http.StatusTemporaryRedirect || answer.Header.Get("Location") != want {
			t.Errorf("%s answers %s and leads to %q, want %q", path, answer.Status, answer.Header.Get("Location"), want)
		}
	}
}
