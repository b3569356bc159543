package dashboard_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestEachPageShowsTheFleet(t *testing.T) {
	t.Parallel()
	js := newLog(t)
	publish(t, js, rolloutStory(t, 5))
	s := newSite(t, js)
	for path, want := range map[string][]string{
		"/":                      {"<b>5</b> devices", "<b>1</b> offline", "shop/web", "device-00002"},
		"/deployments":           {`href="/deployments/shop/web"`, "1 Deployments."},
		"/deployments/shop/web":  {"site=lab", "a new image", "zoë@shop.example", "registry.example/web:2", "From revision 1 to 2", "services[web].image"},
		"/rollouts/shop/web":     {"Batch 1", "Batch 2", `title="device-00003"`, "at most"},
		"/devices":               {`href="/devices/device-00004"`, "5 of 5 devices"},
		"/devices?state=offline": {"1 of 5 devices", "device-00002"},
		"/devices/device-00001":  {"CrashLoop", "Desired beside observed", "revision 1", "site=lab"},
		"/changes?from=20":       {"things differ", "deployment added"},
		"/devices?at=3":          {"The past", "event 3 of", "1 of 1 devices"},
	} {
		answer, body := s.get(path)
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s\n%s", path, answer.Status, body)
			continue
		}
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s lacks %q:\n%s", path, w, body)
			}
		}
	}
}
