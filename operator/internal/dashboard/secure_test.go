package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/projections/storytest"
)

// hostile is markup, and characters that turn the direction of a line.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>'` + turning

const turning = "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u202c"

// Whatever devices and persons write into the log, a page shows it as text.
func TestWhatOthersWroteIsShownAsText(t *testing.T) {
	t.Parallel()
	story := storytest.New(t)
	story.Device("pi-1", map[string]string{"site": "lab"})
	story.Label("pi-1", map[string]string{"site": "lab", "note": hostile}, eventlog.OwnerDevice)
	story.Online("pi-1")
	hostileSpec := func(d *eventlog.Deployment) {
		d.ChangeCause, d.RequestedBy.Name = hostile, hostile
		b, err := json.Marshal(hostile)
		if err != nil {
			t.Fatal(err)
		}
		d.Score = json.RawMessage(`{"data":{"services":[{"name":"web","image":"a","env":{"A":` + string(b) + `}}]},"type":"PodmanV0"}`)
		d.ScoreHash = eventlog.Hash(d.Score)
	}
	story.Apply(dashboardtest.Web, 1, storytest.Podman("registry.example/web:1"), hostileSpec)
	start := story.Rollout(dashboardtest.Web, eventlog.RolloutStarted, 1, 1)
	story.Assign("pi-1", dashboardtest.Web, 1, start)
	story.Failing("pi-1", dashboardtest.Web, hostile, hostile)
	story.Run(dashboardtest.Web, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Reason: "BatchFailed", Message: hostile})
	story.Say(eventlog.InfoSubject("pi-1"), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: "pi-1", Inventory: eventlog.Inventory{Hostname: hostile, OS: hostile, Kernel: hostile, Arch: hostile, AgentVersion: hostile, PodmanVersion: hostile}})
	story.Say(eventlog.AgentSubject("pi-1"), eventlog.AgentStepFailed, eventlog.Step{Deployment: "web", Service: hostile, Step: hostile, Reason: hostile, Error: hostile})
	story.Apply(dashboardtest.Web, 2, storytest.Podman("registry.example/web:2"))
	story.Apply(dashboardtest.Web, 3, storytest.Podman("registry.example/web:3"), hostileSpec)
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, story)
	foreign := &nats.Msg{Subject: eventlog.StateSubject("pi-1", "web"), Header: nats.Header{"X": {hostile}, eventlog.HeaderID: {hostile}, eventlog.HeaderCausationID: {hostile}, eventlog.HeaderType: {hostile}}, Data: []byte(hostile)}
	if _, err := js.PublishMsg(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	s := dashboardtest.New(t, js)
	shown := 0
	for _, path := range []string{
		"/", "/deployments", "/deployments/shop/web", "/deployments/shop/web?compare=1&with=2", "/deployments/shop/web?compare=2&with=3", "/rollouts/shop/web", "/devices", "/devices/pi-1", "/changes?from=1", "/changes?from=1&name=" + url.QueryEscape(hostile), "/events", "/events?only=wrong", fmt.Sprintf("/events/%d", len(story.Events)+1), fmt.Sprintf("/events/%d", len(story.Events)), fmt.Sprintf("/events/%d", len(story.Events)-2), "/events/3", "/events/5", "/events/7", "/events/8", "/events/9",
		"/events?device=" + url.QueryEscape(hostile), "/events?before=" + url.QueryEscape(hostile), "/events/" + url.PathEscape(hostile), "/devices?at=3&as=" + url.QueryEscape(hostile),
		"/devices?name=" + url.QueryEscape(hostile), "/devices?at=" + url.QueryEscape(hostile), "/devices?selector=" + url.QueryEscape(hostile),
		"/" + url.PathEscape(hostile), "/devices/" + url.PathEscape(hostile), "/deployments/shop/" + url.PathEscape(hostile), "/devices?" + url.QueryEscape(hostile) + "=1",
	} {
		answer, body := s.Get(path)
		if !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s is %s", path, answer.Header.Get("Content-Type"))
		}
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img") || strings.Contains(body, `"><`+"script") {
			t.Errorf("%s has what others wrote as markup:\n%s", path, body)
		}
		if strings.ContainsAny(body, turning) {
			t.Errorf("%s shows a line in another order than it has:\n%s", path, body)
		}
		shown += strings.Count(body, "alert(1)")
	}
	if shown < 60 {
		t.Errorf("the pages show it %d times: it does not reach them, and this test proves little", shown)
	}
	if _, body := s.Get("/api/v1/devices/pi-1"); !json.Valid([]byte(body)) || !strings.Contains(body, "alert(1)") {
		t.Errorf("the JSON is %s", body)
	}
}

func TestEachAnswerTellsTheBrowserToBeCareful(t *testing.T) {
	t.Parallel()
	s := dashboardtest.New(t, dashboardtest.NewLog(t))
	for _, path := range []string{"/", "/nothing", "/devices?at=99", "/api/v1/overview", "/api/v1/nothing", "/api/v1/events", "/assets/dashboard.css", "/api/v1/openapi.json"} {
		answer, _ := s.Get(path)
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
		if c := answer.Header.Get("Cache-Control"); !strings.HasPrefix(path, "/assets/") && (!strings.Contains(c, "private") || !strings.Contains(c, "no-cache")) {
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
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 4))
	s := dashboardtest.New(t, js)
	for _, path := range []string{"/", "/deployments", "/deployments/shop/web", "/rollouts/shop/web", "/devices", "/devices/device-00001", "/changes?from=1", "/events", "/events/9", "/devices?at=9&as=happened", "/nothing"} {
		_, body := s.Get(path)
		for _, never := range []string{"style=", "onclick=", "onload=", "javascript:", "http://", "https://", "<style", "<script>"} {
			if strings.Contains(body, never) {
				t.Errorf("%s has %q", path, never)
			}
		}
	}
}

func TestADashboardOnTheLoopbackAnswersToItsNamesAlone(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	s, open := dashboardtest.New(t, js), dashboardtest.New(t, js, func(o *dashboard.Options) { o.AnyHost = true })
	for host, want := range map[string]int{
		"localhost": 200, "localhost:18080": 200, "127.0.0.1:1": 200, "[::1]:18080": 200, "[::1]": 200,
		"attacker.example": 421, "attacker.example:18080": 421, "localhost.attacker.example": 421, "10.0.0.1:18080": 421, "127.0.0.1.attacker.example": 421,
	} {
		for _, path := range []string{"/", "/api/v1/devices", "/api/v1/events"} {
			if answer, body := s.Get(path, "Host", host); answer.StatusCode != want {
				t.Errorf("%s as %s answers %d, want %d: %s", path, host, answer.StatusCode, want, body)
			}
			if answer, _ := open.Get(path, "Host", host); answer.StatusCode != http.StatusOK {
				t.Errorf("open to all, %s as %s answers %d", path, host, answer.StatusCode)
			}
		}
	}
}

// A load balancer calls the server by its address. What it is told says nothing of the fleet.
func TestALoadBalancerLearnsThatTheDashboardIsServed(t *testing.T) {
	t.Parallel()
	s := dashboardtest.New(t, dashboardtest.NewLog(t))
	for _, host := range []string{"10.0.0.1:18080", "fleet.example", "localhost"} {
		if answer, body := s.Get("/healthz", "Host", host); answer.StatusCode != http.StatusOK || body != "ok\n" {
			t.Errorf("as %s: %s %q", host, answer.Status, body)
		}
	}
	if answer, _ := s.Get("/healthz/devices", "Host", "10.0.0.1:18080"); answer.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("below it: %s", answer.Status)
	}
}

func TestADashboardForTheNetworkWantsAWord(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:18080": "", "[::1]:18080": "", "localhost:0": "",
		":18080": "not the loopback", "0.0.0.0:18080": "not the loopback", "[::]:18080": "not the loopback", "10.0.0.1:1": "not the loopback", "fleet.example:1": "not the loopback",
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

// Who asks with a method that an address does not take is told those that it takes.
func TestAnAddressSaysWhichMethodsItTakes(t *testing.T) {
	t.Parallel()
	s := dashboardtest.New(t, dashboardtest.NewLog(t))
	for _, tt := range []struct{ method, path, allow string }{
		{http.MethodGet, "/api/v1/rollouts/shop/web/requests", "POST"},
		{http.MethodHead, "/api/v1/devices/pi-1/ping", "POST"},
		{http.MethodDelete, "/api/v1/devices/pi-1/requests", "POST"},
		{http.MethodPut, "/rollouts/shop/web/pause", "GET, HEAD, POST"},
		{http.MethodPost, "/devices", "GET, HEAD"},
		{http.MethodOptions, "/api/v1/overview", "GET, HEAD"},
		{http.MethodPost, "/assets/dashboard.css", "GET, HEAD"},
		{http.MethodPost, "/requests/5", "GET, HEAD"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, s.Server.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if allow := answer.Header.Get("Allow"); answer.StatusCode != http.StatusMethodNotAllowed || allow != tt.allow {
			t.Errorf("%s %s answers %s and allows %q, want %q", tt.method, tt.path, answer.Status, allow, tt.allow)
		}
	}
}

func TestWhatOnlyShowsTakesNoOtherMethod(t *testing.T) {
	t.Parallel()
	s := dashboardtest.New(t, dashboardtest.NewLog(t))
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, path := range []string{"/", "/devices", "/api/v1/devices", "/api/v1/events", "/nothing"} {
			r, err := http.NewRequestWithContext(t.Context(), method, s.Server.URL+path, nil)
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
