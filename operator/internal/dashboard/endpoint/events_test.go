package endpoint_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/projections/storytest"
)

// listed are the sequences on a page of the list of events, and the links to its neighbours.
func listed(s *dashboardtest.Site, path string) (sequences []uint64, older, newer string) {
	s.T.Helper()
	answer, body := s.Get(path)
	if answer.StatusCode != http.StatusOK {
		s.T.Fatalf("%s: %s\n%s", path, answer.Status, body)
	}
	_, rest, _ := strings.Cut(body, "<tbody>")
	rows, rest, _ := strings.Cut(rest, "</tbody>")
	for row := range strings.SplitSeq(rows, `<th scope="row"><a href="/events/`) {
		if digits, _, ok := strings.Cut(row, `">`); ok {
			digits, _, _ = strings.Cut(digits, "?")
			if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
				sequences = append(sequences, n)
			}
		}
	}
	link := func(rel string) string {
		_, after, ok := strings.Cut(rest, `rel="`+rel+`" href="`)
		to, _, _ := strings.Cut(after, `"`)
		if !ok {
			return ""
		}
		return strings.ReplaceAll(to, "&amp;", "&")
	}
	return sequences, link("next"), link("prev")
}

// The list of events has each event once, the newest first, and its parts lead to each other in
// both directions.
func TestTheListOfEventsHasEachEventOnceInPartsThatLeadToEachOther(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 20)
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	for name, filter := range map[string]struct {
		query string
		wants func(eventlog.Event) bool
	}{
		"all":          {"", func(eventlog.Event) bool { return true }},
		"a device":     {"&device=device-00001", func(e eventlog.Event) bool { return e.Address.Device == "device-00001" }},
		"a type":       {"&type=rollout.", func(e eventlog.Event) bool { return strings.HasPrefix(string(e.Type), "rollout.") }},
		"the past":     {"&at=60", func(e eventlog.Event) bool { return e.Sequence <= 60 }},
		"as happened":  {"&at=60&as=happened", func(e eventlog.Event) bool { return e.Sequence <= 60 }},
		"a Deployment": {"&namespace=shop&deployment=web&type=deployment.,rollout.", func(e eventlog.Event) bool { return e.Address.Family == eventlog.FamilyDeployment }},
		"what went wrong": {"&only=wrong", func(e eventlog.Event) bool {
			return e.Type == eventlog.DeviceOffline || e.Type == eventlog.StateReported && strings.Contains(string(e.Data), "CrashLoop")
		}},
		"nothing": {"&device=nobody", func(eventlog.Event) bool { return false }},
	} {
		var want []uint64
		for i := len(story.Events) - 1; i >= 0; i-- {
			e := story.Events[i]
			e.Sequence = uint64(i + 1)
			if filter.wants(e) {
				want = append(want, e.Sequence)
			}
		}
		first := "/events?limit=7" + filter.query
		var got []uint64
		last := ""
		for path := first; path != ""; {
			part, older, _ := listed(s, path)
			if len(part) > 7 || len(part) == 0 && path != first {
				t.Fatalf("%s: %s has %d events", name, path, len(part))
			}
			got, last, path = append(got, part...), path, older
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, from the newest on (-the log +the list):\n%s", name, diff)
		}
		if len(want) == 0 {
			continue
		}
		back := map[uint64]bool{}
		for path := last; path != ""; {
			part, _, newer := listed(s, path)
			for _, n := range part {
				back[n] = true
			}
			if newer == path {
				t.Fatalf("%s: %s leads to itself", name, path)
			}
			path = newer
		}
		if len(back) != len(want) {
			t.Errorf("%s, back from the oldest: %d events, want %d", name, len(back), len(want))
		}
	}
}

// A page of an event has the event whole, the chain that led to it and what it led to, and what
// it changed.
func TestAPageOfAnEventHasWhatLedToItAndWhatItLedTo(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	byType := func(kind eventlog.Type, device string) uint64 {
		for i := len(story.Events) - 1; i >= 0; i-- {
			if e := story.Events[i]; e.Type == kind && e.Address.Device == device {
				return uint64(i + 1)
			}
		}
		t.Fatalf("the story has no %s of %q", kind, device)
		return 0
	}
	started, assigned := byType(eventlog.RolloutStarted, ""), byType(eventlog.DesiredAssigned, "device-00000")
	m := event(s, assigned, "")
	if len(m.Causes) == 0 || m.Causes[len(m.Causes)-1].Sequence != started || m.Event.Cause != started {
		t.Errorf("event %d was caused by event %d, and the page says %+v", assigned, started, m.Causes)
	}
	for i := 1; i < len(m.Causes); i++ {
		if m.Causes[i-1].Sequence >= m.Causes[i].Sequence {
			t.Errorf("the chain is not in the order of the log: %+v", m.Causes)
		}
	}
	if len(m.Changes) == 0 || !strings.Contains(m.Payload, "registry.example/web:2") || len(m.Headers) < 4 || m.ID == "" {
		t.Errorf("the page of event %d lacks what it changed, its payload, its header or its id: %+v", assigned, m)
	}
	found := false
	for _, e := range event(s, started, "").Effects {
		found = found || e.Sequence == assigned && e.Depth == 1
	}
	if !found {
		t.Errorf("event %d does not name event %d as what it led to", started, assigned)
	}
	// As of a moment before, it had not led to it yet.
	if early := event(s, started, fmt.Sprintf("?at=%d", started)); len(early.Effects) != 0 {
		t.Errorf("at its own moment event %d has led to %+v", started, early.Effects)
	}
	_, body := s.Get(fmt.Sprintf("/events/%d", assigned))
	for _, want := range []string{
		fmt.Sprintf(`href="/events/%d"`, started), fmt.Sprintf(`href="/?at=%d">the fleet just before`, assigned-1), fmt.Sprintf(`href="/?at=%d">the fleet just after`, assigned),
		fmt.Sprintf("fleetctl prove %d", assigned), fmt.Sprintf(`href="/devices/device-00000?at=%d"`, assigned), fmt.Sprintf("/changes?from=%d&amp;to=%d", assigned-1, assigned),
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page of event %d has no %s:\n%s", assigned, want, body)
		}
	}
}

// event is the JSON of an event's page.
func event(s *dashboardtest.Site, sequence uint64, query string) (m model.Event) {
	s.T.Helper()
	answer, body := s.Get(fmt.Sprintf("/api/v1/events/%d%s", sequence, query))
	if err := json.Unmarshal([]byte(body), &m); err != nil || answer.StatusCode != http.StatusOK {
		s.T.Fatalf("event %d: %s: %v\n%s", sequence, answer.Status, err, body)
	}
	return m
}

// A page of an event reads what has to do with it, however long the log is, where it is known
// already what the event changed: that is folded once, which reads the log from the checkpoint
// before the event on.
func TestAPageOfAnEventReadsWhatHasToDoWithItAlone(t *testing.T) {
	t.Parallel()
	const count, size = 20, 50_000
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	others(t, story, count, size)
	story.Online("device-00002")
	at := uint64(len(story.Events))
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js)
	dashboardtest.Eventually(t, "it is known what the event changed", func() bool { return event(s, at, "").Unfolded == "" })
	before := js.Conn().Stats().InBytes
	event(s, at, fmt.Sprintf("?at=%d", at))
	if read := js.Conn().Stats().InBytes - before; read > count*size/4 {
		t.Errorf("the page read %d bytes; the scores of the others have %d", read, count*size)
	}
}

// What a page of an event reads is bounded; beyond that it says so, and names a command.
func TestAPageOfAnEventSaysWhatItDoesNotRead(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 120)
	dashboardtest.Publish(t, js, story)
	s := dashboardtest.New(t, js, func(o *dashboard.Options) { o.MaxEvents = 3 })
	var started, assigned uint64
	for i, e := range story.Events {
		switch {
		case e.Type == eventlog.RolloutStarted && started == 0:
			started = uint64(i + 1)
		case e.Type == eventlog.DesiredAssigned:
			assigned = uint64(i + 1)
		}
	}
	m := event(s, started, "")
	if len(m.Effects) != 50 || !m.MoreEffects {
		t.Errorf("there are %d effects, and more: %t", len(m.Effects), m.MoreEffects)
	}
	if m = event(s, assigned, ""); !strings.Contains(m.Unread, "fleetctl log --device device-") {
		t.Errorf("of a chain that is too long to be read the page says %q", m.Unread)
	}
}

// Each event of a story has its page, whatever it is, and a message that is no event too.
func TestEachEventHasItsPage(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	story.End(storytest.Key("shop", "web"), eventlog.DeploymentDeleted, "Deleted")
	dashboardtest.Publish(t, js, story)
	for _, m := range []struct{ subject, data string }{
		{eventlog.StateSubject("device-00001", "web"), "nobody understands this \xff"},
		{"fleet.evt.what.is.this", `{"a":1}`},
		{eventlog.StateSubject("device-00001", "web"), `{"device_id":"device-00001","deployment":"web","phase":"Running","a":"` + strings.Repeat("x", 200_000) + `"}`},
	} {
		if _, err := js.Publish(t.Context(), m.subject, []byte(m.data)); err != nil {
			t.Fatal(err)
		}
	}
	s := dashboardtest.New(t, js)
	last := uint64(len(story.Events)) + 3
	for n := uint64(1); n <= last; n++ {
		answer, body := s.Get(fmt.Sprintf("/events/%d", n))
		if answer.StatusCode != http.StatusOK || len(body) > 200_000 {
			t.Errorf("event %d: %s, %d bytes", n, answer.Status, len(body))
		}
	}
	raw, err := reader.MessageAt(t.Context(), js, eventlog.LogStream, last)
	if err != nil {
		t.Fatal(err)
	}
	if m := event(s, last, ""); !m.Cut || m.PayloadBytes != len(raw.Data) || m.Event.Foreign != "" {
		t.Errorf("the page of a large event has %d bytes of %d, cut: %t, foreign: %q", len(m.Payload), m.PayloadBytes, m.Cut, m.Event.Foreign)
	}
	for _, n := range []uint64{last - 1, last - 2} {
		if m := event(s, n, ""); m.Event.Foreign == "" {
			t.Errorf("event %d is foreign, and its page does not say so", n)
		}
	}
}

// An event is on no axis of time, nor is a list of events: their pages say nothing of axes, and
// their links keep the one that the person looks at.
func TestAPageOfEventsIsOnNoAxis(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	s := dashboardtest.New(t, js)
	for _, path := range []string{"/events", "/events/10"} {
		for _, axis := range []string{"", "&as=happened"} {
			_, body := s.Get(path + "?at=20" + axis)
			for _, unwanted := range []string{"It differs from", "As it happened", "As the log knew it"} {
				if strings.Contains(body, unwanted) {
					t.Errorf("%s?at=20%s says %q", path, axis, unwanted)
				}
			}
			if axis != "" && !strings.Contains(body, `href="/devices?as=happened&amp;at=20"`) {
				t.Errorf("%s?at=20%s leads to another axis", path, axis)
			}
		}
	}
}

// What a page of an event leaves out because time ran out is there for one who asks again: such
// an answer is neither kept nor taken for the whole, though that never changes.
func TestAPageOfAnEventThatLacksSomethingIsNotKept(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	dashboardtest.Publish(t, js, story)
	path := fmt.Sprintf("/api/v1/events/%d?at=%d", len(story.Events), len(story.Events))
	var c dashboardtest.Clock
	hasty := dashboardtest.New(t, js, c.Use, func(o *dashboard.Options) { o.FoldTime = time.Nanosecond })
	first, body := hasty.Get(path)
	if !strings.Contains(body, "could not be folded up to there within 1ns") {
		t.Fatalf("the answer of one who has no time is %s", body)
	}
	tag := first.Header.Get("ETag")
	c.Set(time.Second)
	if again, _ := hasty.Get(path, "If-None-Match", tag); again.StatusCode != http.StatusOK || again.Header.Get("ETag") == tag {
		t.Errorf("a second later one who asks again is answered %s, with the same tag", again.Status)
	}
	patient := dashboardtest.New(t, js, c.Use)
	var m model.Event
	whole, body := patient.Get(path, "If-None-Match", tag)
	if err := json.Unmarshal([]byte(body), &m); err != nil || len(m.Changes) == 0 || m.Unfolded != "" {
		t.Errorf("one who asks again with time is answered %s: %v\n%s", whole.Status, err, body)
	}
	c.Set(time.Hour)
	if again, _ := patient.Get(path, "If-None-Match", whole.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("the whole answer, which never changes, is sent again: %s", again.Status)
	}
}
