package endpoint_test

import (
	"bufio"
	"fmt"
	"html"
	"net/http"
	"strings"
	"testing"

	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/projections/storytest"
)

// A link from a page of the past leads to the same moment, on the same axis of time, and now is
// on none.
func TestLinksKeepTheMomentAndTheAxis(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	s := dashboardtest.New(t, js)
	_, body := s.Get("/devices?at=20&as=happened")
	for _, want := range []string{
		`href="/devices/device-00001?as=happened&amp;at=20"`, `href="/deployments?as=happened&amp;at=20"`, `href="/changes?as=happened&amp;to=20"`,
		`href="/devices">now</a>`, `href="/devices?at=20">As the log knew it</a>`, `name="as" value="happened"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page of a moment as it happened has no %s", want)
		}
	}
	if _, body = s.Get("/devices?at=20"); !strings.Contains(body, `href="/devices?as=happened&amp;at=20">As it happened</a>`) {
		t.Error("a page of the past does not lead to the moment as it happened")
	}
	if _, body = s.Get("/devices?as=happened"); strings.Contains(body, "as=happened") {
		t.Error("a page of now leads to the past as it happened")
	}
}

func TestEachPageShowsTheFleet(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 5))
	s := dashboardtest.New(t, js)
	for path, want := range map[string][]string{
		"/":                           {"<b>5</b> devices", "<b>1</b> offline", "shop/web", "device-00002"},
		"/deployments":                {`href="/deployments/shop/web"`, "1 Deployment."},
		"/deployments/shop/web":       {"site=lab", "a new image", "zoë@shop.example", "registry.example/web:2", "From revision 1 to 2", "services[web].image"},
		"/deployments/shop/web?at=24": {"Revisions", "registry.example/web:1"},
		"/rollouts/shop/web":          {"Batch 1", "Batch 2", `title="device-00003"`, "at most"},
		"/devices":                    {`href="/devices/device-00004"`, "5 of 5 devices"},
		"/devices?state=offline":      {"1 of 5 devices", "device-00002"},
		"/devices/device-00001":       {"CrashLoop", "Desired beside observed", "revision 1", "site=lab"},
		"/changes?from=20":            {"things differ", "deployment added"},
		"/devices?at=3":               {"The past", "event 3 of", "1 of 1 devices"},
	} {
		answer, body := s.Get(path)
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
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	_, body := s.Get("/devices/device-00001")
	_, rest, _ := strings.Cut(body, `data-stream="`)
	address, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatal("the page does not say where it hears of changes")
	}
	if _, past := s.Get("/devices/device-00001?at=9"); strings.Contains(past, "data-stream") {
		t.Error("a page of the past follows the log")
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Server.URL+html.UnescapeString(address), nil)
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
	dashboardtest.Publish(t, js, story, there)
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
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	s := dashboardtest.New(t, js, func(o *dashboard.Options) { o.MaxEvents = 2 })
	for path, want := range map[string][]string{
		"/devices/device-00001": {"Desired beside observed", "CrashLoop", "fleetctl history device/device-00001"},
		"/deployments/shop/web": {"registry.example/web:2", "fleetctl rollout history web -n shop"},
	} {
		answer, body := s.Get(path)
		for _, w := range want {
			if answer.StatusCode != http.StatusOK || !strings.Contains(body, w) {
				t.Errorf("%s: %s lacks %q:\n%s", path, answer.Status, w, body)
			}
		}
	}
}

func TestAListIsGivenInParts(t *testing.T) {
	t.Parallel()
	story := storytest.New(t)
	for i := range 25 {
		story.Device(fmt.Sprintf("pi-%02d", i), map[string]string{"site": []string{"lab", "shop"}[i%2]})
	}
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	for query, want := range map[string][]string{
		"size=10":                     {"pi-00", "pi-09", "page 1 of 3", "page=2"},
		"size=10&page=3":              {"pi-20", "pi-24", "page 3 of 3", "page=2"},
		"size=10&page=99":             {"pi-24", "page 3 of 3"},
		"selector=site%3Dshop":        {"12 of 25 devices", "pi-01", "pi-23"},
		"selector=site+in+(lab,shop)": {"25 of 25 devices"},
		"name=2":                      {"7 of 25 devices", "pi-02", "pi-24"},
	} {
		_, body := s.Get("/devices?" + query)
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s lacks %q:\n%s", query, w, body)
			}
		}
	}
}
