package dashboard_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/projections/storytest"
)

const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>'`

// Whatever devices and persons write into the log, a page shows it as text.
func TestWhatOthersWroteIsShownAsText(t *testing.T) {
	t.Parallel()
	story := storytest.New(t)
	story.Device("pi-1", map[string]string{"site": "lab"})
	story.Label("pi-1", map[string]string{"site": "lab", "note": hostile}, eventlog.OwnerDevice)
	story.Online("pi-1")
	story.Apply(web, 1, storytest.Podman("registry.example/web:1"), func(d *eventlog.Deployment) {
		d.ChangeCause, d.RequestedBy.Name = hostile, hostile
		b, err := json.Marshal(hostile)
		if err != nil {
			t.Fatal(err)
		}
		d.Score = json.RawMessage(`{"data":{"services":[{"name":"web","image":"a","env":{"A":` + string(b) + `}}]},"type":"PodmanV0"}`)
		d.ScoreHash = eventlog.Hash(d.Score)
	})
	start := story.Rollout(web, eventlog.RolloutStarted, 1, 1)
	story.Assign("pi-1", web, 1, start)
	story.Failing("pi-1", web, hostile, hostile)
	story.Run(web, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Reason: "BatchFailed", Message: hostile})
	js := newLog(t)
	publish(t, js, story)
	s := newSite(t, js)
	shown := 0
	for _, path := range []string{
		"/", "/deployments", "/deployments/shop/web", "/rollouts/shop/web", "/devices", "/devices/pi-1", "/changes?from=1",
		"/devices?name=" + url.QueryEscape(hostile), "/devices?at=" + url.QueryEscape(hostile), "/devices?selector=" + url.QueryEscape(hostile),
		"/" + url.PathEscape(hostile), "/devices/" + url.PathEscape(hostile), "/deployments/shop/" + url.PathEscape(hostile), "/devices?" + url.QueryEscape(hostile) + "=1",
	} {
		answer, body := s.get(path)
		if !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s is %s", path, answer.Header.Get("Content-Type"))
		}
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img") || strings.Contains(body, `"><`+"script") {
			t.Errorf("%s has what somebody wrote as markup:\n%s", path, body)
		}
		shown += strings.Count(body, "alert(1)")
	}
	if shown < 8 {
		t.Errorf("the pages show it %d times: it does not reach them, and this test proves little", shown)
	}
	if _, body := s.get("/api/v1/devices/pi-1"); !json.Valid([]byte(body)) || !strings.Contains(body, "alert(1)") {
		t.Errorf("the JSON is %s", body)
	}
}

func TestEachAnswerTellsTheBrowserToBeCareful(t *testing.T) {
	t.Parallel()
	s := newSite(t, newLog(t))
	for _, path := range []string{"/", "/nothing", "/devices?at=99", "/api/v1/overview", "/api/v1/nothing", "/api/v1/events", "/assets/dashboard.css", "/api/v1/openapi.json"} {
		answer, _ := s.get(path)
		for header, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := answer.Header.Get(header); !strings.Contains(got, want) {
				t.Errorf("%s: %s is %q, want something with %q", path, header, got, want)
			}
		}
		if policy := answer.Header.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
		if c := answer.Header.Get("Cache-Control"); !strings.HasPrefix(path, "/assets/") && (strings.Contains(c, "public") || !strings.Contains(c, "no-cache")) {
			t.Errorf("%s may be kept for others: Cache-Control is %q", path, c)
		}
		if answer.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s may be read by other origins", path)
		}
	}
}

// Pages have no inline script or style, and load nothing of another origin.
func TestPagesKeepToTheirPolicy(t *testing.T) {
	t.Parallel()
	js := newLog(t)
	publish(t, js, rolloutStory(t, 4))
	s := newSite(t, js)
	for _, path := range []string{"/", "/deployments", "/deployments/shop/web", "/rollouts/shop/web", "/devices", "/devices/device-00001", "/changes?from=1", "/nothing"} {
		_, body := s.get(path)
		for _, never := range []string{"style=", "onclick=", "onload=", "javascript:", "http://", "https://", "<style", "<script>"} {
			if strings.Contains(body, never) {
				t.Errorf("%s has %q", path, never)
			}
		}
	}
}

func TestADashboardOnTheLoopbackAnswersToItsNamesAlone(t *testing.T) {
	t.Parallel()
	js := newLog(t)
	s, open := newSite(t, js), newSite(t, js, func(o *dashboard.Options) { o.AnyHost = true })
	for host, want := range map[string]int{
		"localhost": 200, "localhost:18082": 200, "127.0.0.1:1": 200, "[::1]:18082": 200, "[::1]": 200,
		"attacker.example": 421, "attacker.example:18082": 421, "localhost.attacker.example": 421, "10.0.0.1:18082": 421, "127.0.0.1.attacker.example": 421,
	} {
		for _, path := range []string{"/", "/api/v1/devices", "/api/v1/events"} {
			if answer, body := s.get(path, "Host", host); answer.StatusCode != want {
				t.Errorf("%s as %s answers %d, want %d: %s", path, host, answer.StatusCode, want, body)
			}
			if answer, _ := open.get(path, "Host", host); answer.StatusCode != http.StatusOK {
				t.Errorf("open to all, %s as %s answers %d", path, host, answer.StatusCode)
			}
		}
	}
}

func TestADashboardForTheNetworkWantsAWord(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:18082": "", "[::1]:18082": "", "localhost:0": "",
		":18082": "not the loopback", "0.0.0.0:18082": "not the loopback", "[::]:18082": "not the loopback", "10.0.0.1:1": "not the loopback", "fleet.example:1": "not the loopback",
		"localhost": "no address",
	} {
		err := dashboard.CheckListen(address, false)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
		if err := dashboard.CheckListen(address, true); err != nil && want != "no address" {
			t.Errorf("%s, open to all: %v", address, err)
		}
	}
}

func TestWhatOnlyShowsTakesNoOtherMethod(t *testing.T) {
	t.Parallel()
	s := newSite(t, newLog(t))
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, path := range []string{"/", "/devices", "/api/v1/devices", "/api/v1/events", "/nothing"} {
			r, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s answers %s", method, path, answer.Status)
			}
		}
	}
}
