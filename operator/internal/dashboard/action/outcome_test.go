package action_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
)

func TestARequestOfAStalePageIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	var saw eventlog.Request
	o.AnswerRequests(func(e eventlog.Event, q eventlog.Request) eventlog.Draft {
		saw = q
		return dashboardtest.RolloutAnswer(t, eventlog.RolloutRequestRefused, e, eventlog.Rollout{Reason: "Outdated", Message: "it speaks of batch 1, and the open one is 2"})
	})
	_, body := o.Act("ann", "/rollouts/shop/web/promote")
	for _, want := range []string{"refused", "Outdated", "it speaks of batch 1, and the open one is 2"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not have %q:\n%s", want, body)
		}
	}
	m := o.Rollout()
	if got := (model.Seen{Revision: saw.Revision, Run: saw.Run, Batch: saw.Batch}); m.Seen == nil || got != *m.Seen || got.Run == 0 {
		t.Errorf("the request says that its author saw %+v, and the page showed %+v", got, m.Seen)
	}
}

func TestAPageOfARequestIsOfARequestAlone(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	for path, code := range map[string]int{"/requests/1": 404, "/requests/99999": 404, "/requests/0": 400, "/requests/x": 400, "/requests/1?at=2": 400, "/api/v1/requests/1": 404} {
		if answer, body := o.Get(path, dashboardtest.AsPerson, "vic"); answer.StatusCode != code {
			t.Errorf("%s: %s, want %d\n%s", path, answer.Status, code, body)
		}
	}
}

// The view says that a request is over, however many events there are behind it.
func TestARequestIsOverThoughTheLogHasMuchBehindIt(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4, func(o *dashboard.Options) { o.MaxEvents = 2 })
	const id = "device-00001"
	say := func(subject string, typ eventlog.Type, payload any) uint64 {
		d, err := eventlog.NewDraft(subject, typ, time.Now(), payload)
		if err != nil {
			t.Fatal(err)
		}
		sequence, err := appender.Unfenced(t.Context(), o.JS, "test", d)
		if err != nil {
			t.Fatal(err)
		}
		return sequence
	}
	asks := eventlog.DeviceRequestSubject("ann", id)
	first := say(asks, eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestRevoke})
	second := say(asks, eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestRevoke, Reason: "it is stolen"}) // of two the last counts
	for range 3 {
		say(eventlog.DeviceSubject(id), eventlog.DeviceOffline, eventlog.Presence{Reason: "PulseMissed"})
	}
	state := func(sequence uint64) (q model.Request) {
		_, body := o.Get(fmt.Sprintf("/api/v1/requests/%d", sequence))
		if err := json.NewDecoder(strings.NewReader(body)).Decode(&q); err != nil {
			t.Fatal(err)
		}
		return q
	}
	dashboardtest.Eventually(t, "the first request is overtaken", func() bool { return state(first).State == model.RequestOvertaken })
	if q := state(second); q.State != model.RequestOpen {
		t.Errorf("the second request is %+v", q)
	}
}
