package dashboard_test

import (
	"bufio"
	"html"
	"net/http"
	"strings"
	"testing"

	"fleet.nationtech.io/operator/internal/dashboard"
)

func TestEachPageShowsTheFleet(t *testing.T) {
	t.Parallel()
	js := newLog(t)
	publish(t, js, rolloutStory(t, 5))
	s := newSite(t, js)
	for path, want := range map[string][]string{
		"/":                           {"<b>5</b> devices", "<b>1</b> offline", "shop/web", "device-00002"},
		"/deployments":                {`href="/deployments/shop/web"`, "1 Deployments."},
		"/deployments/shop/web":       {"site=lab", "a new image", "zoë@shop.example", "registry.example/web:2", "From revision 1 to 2", "services[web].image"},
		"/deployments/shop/web?at=24": {"Revisions", "registry.example/web:1"},
		"/rollouts/shop/web":          {"Batch 1", "Batch 2", `title="device-00003"`, "at most"},
		"/devices":                    {`href="/devices/device-00004"`, "5 of 5 devices"},
		"/devices?state=offline":      {"1 of 5 devices", "device-00002"},
		"/devices/device-00001":       {"CrashLoop", "Desired beside observed", "revision 1", "site=lab"},
		"/changes?from=20":            {"things differ", "deployment added"},
		"/devices?at=3":               {"The past", "event 3 of", "1 of 1 devices"},
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

// A page of now says where it hears of changes, and there it hears of those that change it.
func TestAPageOfNowHearsOfWhatChangesIt(t *testing.T) {
	t.Parallel()
	js := newLog(t)
	story := rolloutStory(t, 3)
	publish(t, js, story)
	s := newSite(t, js)
	_, body := s.get("/devices/device-00001")
	_, rest, _ := strings.Cut(body, `data-stream="`)
	address, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatal("the page does not say where it hears of changes")
	}
	if _, past := s.get("/devices/device-00001?at=9"); strings.Contains(past, "data-stream") {
		t.Error("a page of the past follows the log")
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+html.UnescapeString(address), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	there := len(story.Events)
	story.Online("device-00002")
	story.Offline("device-00001")
	publish(t, js, story, there)
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if !strings.Contains(data, `"device":"device-00001"`) || !strings.Contains(data, "device.offline") {
				t.Errorf("the first that it hears is %s", data)
			}
			return
		}
	}
	t.Errorf("the stream ended: %v", lines.Err())
}

// A page whose history is long is shown without it, and names the command that has it.
func TestAHistoryThatIsTooLongForAPageIsLeftOut(t *testing.T) {
	t.Parallel()
	js := newLog(t)
	publish(t, js, rolloutStory(t, 3))
	s := newSite(t, js, func(o *dashboard.Options) { o.MaxEvents = 2 })
	for path, want := range map[string][]string{
		"/devices/device-00001": {"Desired beside observed", "CrashLoop", "fleetctl history device/device-00001"},
		"/deployments/shop/web": {"registry.example/web:2", "fleetctl rollout history web -n shop"},
	} {
		answer, body := s.get(path)
		for _, w := range want {
			if answer.StatusCode != http.StatusOK || !strings.Contains(body, w) {
				t.Errorf("%s: %s lacks %q:\n%s", path, answer.Status, w, body)
			}
		}
	}
}
