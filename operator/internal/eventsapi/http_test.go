package eventsapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/eventsapi"
)

const secret = "the-value-of-a-score"

func TestARowHasAColumnForWhatAnEventSays(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	score := `{"data":{"services":[{"name":"main","image":"` + secret + `"}]},"type":"PodmanV0"}`
	l.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentApplied, eventlog.Deployment{
		UID: "u", Revision: 3, Score: json.RawMessage(score), ScoreHash: "sha256:1", ChangeCause: "a new image", RequestedBy: eventlog.Requester{Name: "ada", By: "admission"},
	})
	l.say(eventlog.DeploymentSubject("shop", "web"), eventlog.RolloutStarted, eventlog.Rollout{
		Revision: 3, Kind: eventlog.RunUpdate, Strategy: "Batched", Devices: 5, Score: json.RawMessage(score), Batches: []eventlog.PlannedBatch{{Cut: 1, Size: 1}, {Cut: 2, Size: 4}},
	})
	l.assign("pi-1", "shop", "web", 3, score)
	fails := "no such image"
	l.say(eventlog.StateSubject("pi-1", "web"), eventlog.StateReported, eventlog.DeploymentState{
		DeviceID: "pi-1", Deployment: "web", Phase: eventlog.PhaseFailed, Reason: "ImagePull", LastError: &fails, Revision: 3,
	})
	l.say(eventlog.DeploymentSubject("shop", "web"), eventlog.RolloutPaused, eventlog.Rollout{
		Revision: 3, Run: 2, Batch: 1, Reason: "BatchFailed", Message: "batch 1 failed", Counts: &eventlog.RolloutCounts{Given: 1, Bad: 1},
	})
	l.say(eventlog.RequestSubject("grace", "shop", "web"), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestUndo, Reason: "it is broken"})

	_, got := l.get("order=asc")
	for _, e := range got.Events {
		at, err := time.Parse(time.RFC3339, e["time"].(string))
		if err != nil || time.Since(at) > time.Hour {
			t.Errorf("time is %v, want when the log got it: %v", e["time"], err)
		}
		delete(e, "time")
		delete(e, "occurred")
		delete(e, "subject")
	}
	want := []map[string]any{
		{"sequence": 1.0, "id": "ID-1", "type": "deployment.applied", "family": "deployment", "namespace": "shop", "deployment": "web", "revision": 3.0, "message": "a new image", "actor": "ada"},
		{"sequence": 2.0, "id": "ID-2", "type": "rollout.started", "family": "deployment", "namespace": "shop", "deployment": "web", "revision": 3.0, "run": 2.0, "kind": "Update", "strategy": "Batched", "batches": 2.0, "devices": 5.0},
		{"sequence": 3.0, "id": "ID-3", "type": "desired.assigned", "family": "desired", "namespace": "shop", "deployment": "web", "device": "pi-1", "revision": 3.0, "batch": 2.0},
		{"sequence": 4.0, "id": "ID-4", "type": "state.reported", "family": "state", "deployment": "web", "device": "pi-1", "revision": 3.0, "phase": "Failed", "reason": "ImagePull", "message": "no such image"},
		{"sequence": 5.0, "id": "ID-5", "type": "rollout.paused", "family": "deployment", "namespace": "shop", "deployment": "web", "revision": 3.0, "run": 2.0, "batch": 1.0, "reason": "BatchFailed", "message": "batch 1 failed", "given": 1.0, "bad": 1.0},
		{"sequence": 6.0, "id": "ID-6", "type": "request.made", "family": "request", "namespace": "shop", "deployment": "web", "actor": "grace", "verb": "undo", "reason": "it is broken"},
	}
	if diff := cmp.Diff(want, got.Events); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Next != "" || got.Last != 6 || got.Partial {
		t.Errorf("next is %q, last %d, partial %t; want the end of the log", got.Next, got.Last, got.Partial)
	}
}

func TestAPayloadIsInTheAnswerOnlyWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.assign("pi-1", "shop", "web", 3, `{"image":"`+secret+`"}`)
	l.append(eventlog.Draft{Subject: eventlog.StateSubject("pi-1", "web"), Type: eventlog.StateReported, Data: []byte("no JSON: " + secret)})
	for query, want := range map[string][]any{
		"order=asc":           {nil, nil},
		"order=asc&data=true": {map[string]any{"image": secret}, "bm8gSlNPTjogdGhlLXZhbHVlLW9mLWEtc2NvcmU="},
	} {
		_, got := l.get(query)
		for i, e := range got.Events {
			if diff := cmp.Diff(want[i], e["data"]); diff != "" {
				t.Errorf("%s, event %d (-want +got):\n%s", query, i+1, diff)
			}
		}
	}
}

func TestMuchDataIsGivenInSmallerPages(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	const events, size = 50, 240 << 10
	for range events {
		l.assign("pi-1", "shop", "web", 1, `{"image":"`+strings.Repeat("x", size)+`"}`)
	}
	for _, order := range []string{"asc", "desc"} {
		cursor, n, pages := "", 0, 0
		for {
			_, b := l.get("limit=1000&data=true&order=" + order + "&" + cursor)
			n += len(b.Events)
			if pages++; len(b.Events)*size > 9<<20 {
				t.Fatalf("a page has %d events of %d bytes", len(b.Events), size)
			}
			if b.Next == "" {
				break
			}
			if !b.Partial {
				t.Error("a page that ended early does not say so")
			}
			cursor = map[string]string{"asc": "after=", "desc": "before="}[order] + b.Next
		}
		if n != events || pages < 2 {
			t.Errorf("%s: %d events on %d pages, want %d on more than one", order, n, pages, events)
		}
	}
}

func TestAQuestionThatCannotBeAnsweredSaysWhy(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	tests := map[string]string{
		"name=web":           `there is no parameter "name"`,
		"devices=pi":         "did you mean device?",
		"type=rollout.pause": "did you mean rollout.paused",
		"type=rolout.":       "there is no event type",
		"limit=0":            "limit: \"0\" is no number from 1 to 1000",
		"limit=1001":         "from 1 to 1000",
		"order=up":           "neither asc",
		"data=maybe":         "neither true nor false",
		"since=yesterday":    "neither a moment",
		"until=0":            "the sequence 1",
		"before=x":           "what an answer has as next",
		"device=A":           "RFC 1123",
		"namespace=a.b":      "RFC 1123",
		"device=a&device=b":  "give device once",
		"since=1796083200000&until=" + "2020-01-01T00:00:00Z": "is before since",
		"device=pi-1&type=deployment.":                        "no event is of such a type",
		"namespace=shop&type=state.":                          "no event is of such a type",
		"deployment=web&type=info.":                           "no event is of such a type",
		"a=%zz":                                               "cannot be read",
	}
	for query, want := range tests {
		resp, b := l.get(query)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(b.Error, want) || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %q, want 400 and something with %q", query, resp.StatusCode, b.Error, want)
		}
	}
	if resp, b := l.get("since=2026-11-24T16:03:00+02:00&until=2199-11-24T16:03:00.5+02:00"); resp.StatusCode != http.StatusOK {
		t.Errorf("times whose plus is not encoded: %d %s", resp.StatusCode, b.Error)
	}
	if resp, b := l.get("namespace=&deployment=&device=&type=&since=&until="); resp.StatusCode != http.StatusOK {
		t.Errorf("empty parameters: %d %s, want what is answered without them", resp.StatusCode, b.Error)
	}
}

func TestATagIsGoodUntilAnotherEventIsOfThoseThatWereAskedFor(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	device := func() { l.say(eventlog.DeviceSubject("pi-1"), eventlog.DeviceOnline, eventlog.Presence{}) }
	deployment := func() {
		l.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{})
	}
	deployment()
	const query = "namespace=shop&deployment=web"
	first, _ := l.get(query)
	tag := first.Header.Get("ETag")
	code := func(query string) int {
		resp, _ := l.get(query, "If-None-Match", tag)
		return resp.StatusCode
	}
	device()
	if got := code(query); got != http.StatusNotModified {
		t.Errorf("after another device's event: %d, want 304", got)
	}
	if got := code(query + "&limit=1"); got != http.StatusOK {
		t.Errorf("another question with that tag: %d, want 200", got)
	}
	deployment()
	if got := code(query); got != http.StatusOK {
		t.Errorf("after another event of the Deployment: %d, want 200", got)
	}
}

// While replicas are replaced, an answer of another program may be another one.
func TestATagIsGoodForTheProgramThatGaveIt(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.online("pi-1")
	by := func(build string) *log { return serve(t, l.js, func(o *eventsapi.Options) { o.Build = build }) }
	first, _ := by("v1").get("")
	for build, want := range map[string]int{"v1": http.StatusNotModified, "v2": http.StatusOK, "": http.StatusOK} {
		if got, _ := by(build).get("", "If-None-Match", first.Header.Get("ETag")); got.StatusCode != want {
			t.Errorf("program %q answers the tag of v1 by %d, want %d", build, got.StatusCode, want)
		}
	}
}

// A script that asks again and again gets each event once.
func TestWhoGoesOnAfterTheLastGetsEachEventOnce(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	var want, got []float64
	after := "0"
	for range 5 {
		for range 3 {
			want = append(want, float64(l.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{})))
			l.say(eventlog.DeviceSubject("pi-1"), eventlog.DeviceOnline, eventlog.Presence{})
		}
		_, b := l.get("deployment=web&order=asc&after=" + after)
		for _, e := range b.Events {
			got = append(got, e["sequence"].(float64))
		}
		after = json.Number(jsonOf(b.Last)).String()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-appended +given):\n%s", diff)
	}
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestALogThatIsNotThereIsSaidToBeNotThere(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	if err := l.js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	resp, b := l.get("")
	if resp.StatusCode != http.StatusServiceUnavailable || b.Error != "there is no event log yet" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %q, want 503", resp.StatusCode, b.Error)
	}
	l.js.Conn().Close()
	if resp, b = l.get(""); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(b.Error, "not connected") {
		t.Errorf("without a connection: %d %q, want 503", resp.StatusCode, b.Error)
	}
}

// Where the server of NATS does not answer, few requests wait for it, the others are told
// at once; and what a client has given up is given up here too.
func TestFewRequestsReadAtATimeAndOneWhoseClientWentEnds(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	proxy := s.Proxy(t)
	_, js := proxy.Connect(t)
	natstest.EnsureLog(t, js, 1)
	l := serve(t, js)
	proxy.Drop(func(string) bool { return true })
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 4)
	for range 4 {
		go func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url(""), nil)
			if err == nil {
				var resp *http.Response
				if resp, err = l.server.Client().Do(r); err == nil {
					err = resp.Body.Close()
				}
			}
			ended <- err
		}()
	}
	l.eventually("four requests read", func() bool { return l.handler.Reading() == 4 })
	if resp, b := l.get(""); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(b.Error, "4 requests read the event log already") {
		t.Errorf("a fifth request: %d %q, want 503", resp.StatusCode, b.Error)
	}
	leave()
	for range 4 {
		if err := <-ended; err == nil {
			t.Error("a request was answered")
		}
	}
	l.eventually("nothing reads for clients that went away", func() bool { return l.handler.Reading() == 0 })
}
