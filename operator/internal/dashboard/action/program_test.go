package action_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
)

func TestAProgramAsksAndIsToldTheAnswer(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	const path = "/api/v1/rollouts/shop/web/requests"
	seen := o.Rollout().Seen
	ask := fmt.Sprintf(`{"verb":"undo","reason":"it fails","revision":%d,"run":%d,"batch":%d,"to_revision":1}`, seen.Revision, seen.Run, seen.Batch)
	code, q, text := o.Asks("ann", path, ask)
	if code != http.StatusAccepted || q.State != model.RequestOpen || q.By != "ann" || q.Sequence == 0 {
		t.Fatalf("without an operator: %d %s", code, text)
	}
	o.AnswerRequests(func(e eventlog.Event, q eventlog.Request) eventlog.Draft {
		if q.Verb == eventlog.RequestResume {
			return dashboardtest.RolloutAnswer(t, eventlog.RolloutRequestRefused, e, eventlog.Rollout{Reason: "NothingToDo", Message: "the rollout is neither on hold nor paused"})
		}
		return dashboardtest.RolloutAnswer(t, eventlog.RolloutStarted, e, eventlog.Rollout{Kind: eventlog.RunRollback, From: 2, Revision: q.ToRevision})
	})
	code, q, text = o.Asks("sam", path+"?wait=20s", ask)
	if code != http.StatusOK || q.State != model.RequestDone || q.By != "sam" || q.Event != eventlog.RolloutStarted || !strings.Contains(q.Message, "goes back from revision 2 to 1") {
		t.Errorf("undo: %d %s", code, text)
	}
	code, q, text = o.Asks("ann", path+"?wait=20s", `{"verb":"resume"}`)
	if code != http.StatusOK || q.State != model.RequestRefused || q.Why != "NothingToDo" {
		t.Errorf("resume: %d %s", code, text)
	}
	answer, body := o.Get(fmt.Sprintf("/api/v1/requests/%d", q.Sequence))
	if answer.StatusCode != http.StatusOK || strings.TrimSpace(body) != strings.TrimSpace(text) {
		t.Errorf("the request, asked for later: %s\n%s\nwant\n%s", answer.Status, body, text)
	}
}

func TestWhatAProgramAsksIsReadStrictly(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	const rollouts, devices = "/api/v1/rollouts/shop/web/requests", "/api/v1/devices/device-00001/requests"
	for name, tt := range map[string]struct {
		path, body string
		header     []string
		code       int
		says       string
	}{
		"a verb that there is not":             {rollouts, `{"verb":"delete"}`, nil, 404, `\"delete\"`},
		"no verb":                              {rollouts, `{}`, nil, 404, "Nobody can ask"},
		"a field that there is not":            {rollouts, `{"verb":"pause","force":true}`, nil, 400, "force"},
		"two values":                           {rollouts, `{"verb":"pause"}{}`, nil, 400, "more than one value"},
		"a bracket after the value":            {rollouts, `{"verb":"pause"}}`, nil, 400, "more than one value"},
		"full of another verb":                 {rollouts, `{"verb":"abort","full":true}`, nil, 400, "promote"},
		"to_revision of another verb":          {rollouts, `{"verb":"abort","to_revision":1}`, nil, 400, "undo"},
		"a reason over several lines":          {rollouts, `{"verb":"pause","reason":"a\nb"}`, nil, 400, "line break"},
		"a reason that is too long":            {rollouts, `{"verb":"pause","reason":"` + strings.Repeat("x", 501) + `"}`, nil, 400, "500"},
		"a body that is too long":              {rollouts, `{"verb":"pause","reason":"` + strings.Repeat("x", 20000) + `"}`, nil, 400, "too large"},
		"an idempotency key that is too short": {rollouts, `{"verb":"pause"}`, []string{"Idempotency-Key", "1"}, 400, "Idempotency-Key"},
		"a form":                               {rollouts, `verb=pause`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "application/json"},
		"a parameter that there is not":        {rollouts + "?at=1", `{"verb":"pause"}`, nil, 400, "wait"},
		"too long a wait":                      {rollouts + "?wait=1h", `{"verb":"pause"}`, nil, 400, "20s"},
		"a Deployment that there is not":       {"/api/v1/rollouts/shop/none/requests", `{"verb":"pause"}`, nil, 404, "shop/none"},
		"a device that there is not":           {"/api/v1/devices/none/requests", `{"verb":"revoke"}`, nil, 404, "none"},
		"a device that nothing keeps out":      {devices, `{"verb":"allow"}`, nil, 409, "nothing keeps it out"},
		"a ping":                               {devices, `{"verb":"ping"}`, nil, 400, "/api/v1/devices/device-00001/ping"},
		"a Deployment that is not orphaned":    {"/api/v1/deployments/shop/web/requests", `{"verb":"withdraw"}`, nil, 409, "kubectl delete"},
		"without a token":                      {rollouts, `{"verb":"pause"}`, []string{"Authorization", ""}, 403, "token"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, text := o.Asks("ann", tt.path, tt.body, tt.header...); code != tt.code || !strings.Contains(text, tt.says) {
				t.Errorf("%d %s, want %d that says %q", code, text, tt.code, tt.says)
			}
		})
	}
	for _, path := range []string{rollouts, devices, "/api/v1/devices/device-00001/ping"} {
		if code, _, text := o.Asks("vic", path, `{"verb":"pause"}`); code != http.StatusForbidden && code != http.StatusNotFound {
			t.Errorf("a viewer at %s: %d %s", path, code, text)
		}
	}
	if got := o.Requests(); len(got) > 0 {
		t.Errorf("the log has %v", got)
	}
}

func TestAProgramThatAsksAgainWithItsKeyAsksOnce(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	var first uint64
	for range 3 {
		code, q, text := o.Asks("ann", "/api/v1/rollouts/shop/web/requests", `{"verb":"pause"}`, "Idempotency-Key", `"8e03978e-40d5-43dd-bc93-6894a57f9324"`)
		if code != http.StatusAccepted || first > 0 && q.Sequence != first {
			t.Errorf("%d %s", code, text)
		}
		first = q.Sequence
	}
	if got := o.Requests(); len(got) != 1 {
		t.Errorf("the log has %v", got)
	}
}
