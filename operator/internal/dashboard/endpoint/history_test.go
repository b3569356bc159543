package endpoint_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// others appends Deployments that match no device, each with a large score.
func others(t testing.TB, s *storytest.Story, n, size int) {
	t.Helper()
	score, err := json.Marshal(map[string]any{"type": "PodmanV0", "data": map[string]any{"services": []any{map[string]any{
		"name": "main", "image": "registry.example/other:1", "env": map[string]string{"A": strings.Repeat("a", size)},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s.Apply(storytest.Key("shop", fmt.Sprintf("other-%02d", i)), 1, storytest.Podman("registry.example/other:1"), func(d *eventlog.Deployment) {
			d.Selector = eventlog.Selector{MatchLabels: map[string]string{"site": "nowhere"}}
			d.Score, d.ScoreHash = score, eventlog.Hash(score)
		})
	}
}

// A page of a device reads its own events and those of its Deployments: others of the fleet,
// and their scores, cost it nothing.
func TestAPageOfADeviceReadsWhatConcernsItAlone(t *testing.T) {
	t.Parallel()
	const count, size = 20, 50_000
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	others(t, story, count, size)
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	before := js.Conn().Stats().InBytes
	answer, body := s.Get("/devices/device-00001")
	if answer.StatusCode != http.StatusOK || !strings.Contains(body, "CrashLoop") || !strings.Contains(body, "What comes next") {
		t.Fatalf("%s\n%s", answer.Status, body)
	}
	if read := js.Conn().Stats().InBytes - before; read > count*size/4 {
		t.Errorf("the page read %d bytes; the scores of the Deployments that are not its own have %d", read, count*size)
	}
}

// Where the events of its Deployments are too many, a page of a device still has its history.
func TestADeviceHasItsHistoryThoughItsDeploymentsHaveALongOne(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	for revision := uint64(3); revision < 30; revision++ {
		story.Apply(dashboardtest.Web, revision, storytest.Podman("registry.example/web:"+strings.Repeat("x", 100)), storytest.Batched)
	}
	dashboardtest.Publish(t, js, story)
	for name, bound := range map[string]func(*dashboard.Options){
		"events": func(o *dashboard.Options) { o.MaxEvents = 20 },
		"bytes":  func(o *dashboard.Options) { o.MaxBytes = 5000 },
	} {
		s := dashboardtest.New(t, js, bound)
		_, body := s.Get("/api/v1/devices/device-00001")
		var m model.Device
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
		if len(m.History) == 0 || m.Explanation != nil || !strings.Contains(m.Unexplained, "fleetctl explain device/device-00001") {
			t.Errorf("%s: %d entries of history, an explanation %v, and %q", name, len(m.History), m.Explanation != nil, m.Unexplained)
		}
	}
}

// At each moment a page of a device says what fleetctl explain says, but for the Deployments
// that are elsewhere.
func TestAPageOfADeviceExplainsWhatFleetctlExplains(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	others(t, story, 2, 10)
	story.End(dashboardtest.Web, eventlog.DeploymentDeleted, "Deleted")
	story.Withdraw("device-00001", dashboardtest.Web, 0)
	dashboardtest.Publish(t, js, story)
	life := asoftest.NewLife(t, js, 5)
	life.Append(150)
	s := dashboardtest.New(t, js)
	explained, last := 0, uint64(len(story.Events)+150)
	for at := uint64(2); at <= last; at += 9 {
		v, err := asof.At(t.Context(), js, asof.Moment{Sequence: at}, asof.Options{NoCheckpoints: true})
		if err != nil {
			t.Fatal(err)
		}
		for id := range v.Devices {
			q := explain.Question{Device: id, At: v.Recorded, Fleet: func() (*fleet.View, error) { return v, nil }}
			want, err := explain.Answer(reader.Read(t.Context(), js, reader.Options{Subjects: q.Subjects(), Until: at}), q, timeline.Options{AsOf: at})
			if err != nil {
				continue // only others spoke of it
			}
			answer, body := s.Get(fmt.Sprintf("/api/v1/devices/%s?at=%d", id, at))
			if answer.StatusCode == http.StatusNotFound {
				continue // it is in no list either
			}
			var m model.Device
			if err := json.Unmarshal([]byte(body), &m); err != nil || m.Explanation == nil {
				t.Fatalf("%s at %d: %v\n%s", id, at, err, body)
			}
			want.Elsewhere, want.At = nil, m.Explanation.At
			timeless(want)
			timeless(m.Explanation)
			if diff := cmp.Diff(dashboardtest.Plain(t, want), dashboardtest.Plain(t, m.Explanation)); diff != "" {
				t.Fatalf("%s at %d (-fleetctl explain +the page):\n%s", id, at, diff)
			}
			explained++
		}
	}
	if explained < 20 {
		t.Errorf("only %d were explained", explained)
	}
}

// A page of a device has what the device says that it is, the steps of its agent, how long it is
// used to be away, and how wrong its clock is.
func TestAPageOfADeviceHasItsInventoryItsStepsItsHabitAndItsClock(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	story.Say(eventlog.InfoSubject("device-00001"), eventlog.InfoReported, eventlog.DeviceInfo{
		DeviceID: "device-00001", Labels: map[string]string{"site": "lab"}, UpdatedAt: time.Now(),
		Inventory: eventlog.Inventory{Hostname: "kiosk-7", OS: "Debian 13", Kernel: "6.12.1", Arch: "arm64", CPUCores: 4, MemoryMB: 3906, AgentVersion: "0.2.0", PodmanVersion: "5.4.2"},
	})
	story.Say(eventlog.AgentSubject("device-00001"), eventlog.AgentStepFailed, eventlog.Step{Deployment: "web", Service: "main", Step: "pull", Reason: "ImagePullFailed", Error: "no such image", Duration: 1.5, At: time.Now()})
	story.Offline("device-00001")
	story.Online("device-00001")
	dashboardtest.Publish(t, js, story)
	if err := logstream.EnsurePulse(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	beat, err := json.Marshal(eventlog.Heartbeat{DeviceID: "device-00001", At: time.Now().Add(-3 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), eventlog.PulseSubject("device-00001"), beat); err != nil {
		t.Fatal(err)
	}
	s := dashboardtest.New(t, js)
	var body string
	dashboardtest.Eventually(t, "the page has the last pulse, which a busy server may not give in time", func() bool {
		_, body = s.Get("/devices/device-00001")
		return strings.Contains(body, "Its clock is")
	})
	for _, want := range []string{
		"kiosk-7: Debian 13, kernel 6.12.1, arm64, 4 cores, 3906 MiB of memory", "agent 0.2.0, Podman 5.4.2", "Its clock is 3h00m behind", "In the last month it was away for up to",
		"Steps of its agent", "shop/web main: pull failed (ImagePullFailed)", "no such image",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if _, past := s.Get(fmt.Sprintf("/devices/device-00001?at=%d", len(story.Events)-2)); strings.Contains(past, "Its clock is") || strings.Contains(past, "was away") {
		t.Error("a page of the past has the last pulse, or what the device did later")
	}
	if t.Failed() {
		t.Log(body)
	}
	another, err := json.Marshal(eventlog.Heartbeat{DeviceID: "device-00002", At: time.Now().Add(-3 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), eventlog.PulseSubject("device-00000"), another); err != nil {
		t.Fatal(err)
	}
	if _, body = s.Get("/devices/device-00000"); strings.Contains(body, "Its clock is") {
		t.Error("a pulse that speaks of another device is believed")
	}
}

// A page of a device reads its own events once, and asks the log few things.
func TestAPageOfADeviceReadsItsEventsOnce(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	const reports, size = 200, 5000
	for i := range reports {
		story.Failing("device-00001", dashboardtest.Web, "CrashLoop", strings.Repeat(string(rune('a'+i%26)), size))
	}
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	before := js.Conn().Stats()
	s.Get("/devices/device-00001")
	after := js.Conn().Stats()
	if read := after.InBytes - before.InBytes; read > reports*size*3/2 {
		t.Errorf("the page read %d bytes; the device's reports have %d", read, reports*size)
	}
	if asked := after.OutMsgs - before.OutMsgs; asked > 50 {
		t.Errorf("the page asked the servers %d times", asked)
	}
}

// A page of a device at now does not look for the changes before it in the log: it has read
// them. At each moment they are those that a look at each event finds.
func TestAPageHasTheChangesBeforeItFromWhatItRead(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 300)
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	asks := func(path string) uint64 {
		before := js.Conn().Stats().OutMsgs
		s.Get(path)
		return js.Conn().Stats().OutMsgs - before
	}
	// The JSON names no other moments.
	if values, page := asks("/api/v1/devices/device-00001"), asks("/devices/device-00001"); page > values+10 {
		t.Errorf("the page asks the log %d times, its JSON %d times", page, values)
	}
	for path, subjects := range map[string][]string{
		"/devices/device-00001": model.DeviceSubjects("device-00001"),
		"/deployments/shop/web": append(model.DeploymentSubjects(dashboardtest.Web), eventlog.DesiredSubject(eventlog.Wildcard, "web"), eventlog.StateSubject(eventlog.Wildcard, "web")),
	} {
		var on []uint64
		for e, err := range reader.Read(t.Context(), js, reader.Options{Subjects: subjects}) {
			if err != nil {
				t.Fatal(err)
			}
			on = append(on, e.Sequence)
		}
		for _, at := range []int{len(on) - 1, len(on) - 2, len(on) / 2, 2} {
			_, body := s.Get(fmt.Sprintf("%s?at=%d", path, on[at]))
			if at+1 < len(on) && !strings.Contains(body, fmt.Sprintf(`<a rel="next" href="%s?at=%d"`, path, on[at+1])) {
				t.Errorf("%s at %d: the next change is not %d:\n%s", path, on[at], on[at+1], steps(body))
			}
			if !strings.Contains(body, fmt.Sprintf(`<a rel="prev" href="%s?at=%d"`, path, on[at-1])) {
				t.Errorf("%s at %d: the change before is not %d:\n%s", path, on[at], on[at-1], steps(body))
			}
		}
	}
}

// steps is the part of a page that leads to other moments.
func steps(body string) string {
	_, rest, _ := strings.Cut(body, `<p class="steps"`)
	part, _, _ := strings.Cut(rest, "</p>")
	return part
}

// timeless takes the time out of what says that something is not in the log: it is that of the
// last event that was read.
func timeless(e *explain.Explanation) {
	all := []*explain.Sentence{&e.Summary}
	for i := range e.Chain {
		all = append(all, &e.Chain[i])
	}
	for i := range e.Next {
		all = append(all, &e.Next[i])
	}
	for i := range e.Deployments {
		all = append(all, &e.Deployments[i].Summary)
	}
	for _, s := range all {
		if s.Type == "" {
			s.Time = time.Time{}
		}
	}
}
