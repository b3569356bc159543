package action_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/person"
)

// deaf is ann over a connection that gives her no acknowledgement, though the log has what she asks.
func deaf(o *dashboardtest.Office) {
	o.T.Helper()
	conn, _ := natstest.Start(o.T).Connect(o.T)
	_, err := conn.Subscribe(eventlog.FamilySubjects(eventlog.FamilyRequest), func(m *nats.Msg) {
		if _, err := o.JS.PublishMsg(o.T.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}); err != nil {
			o.T.Error(err)
		}
		_ = m.Respond([]byte("?"))
	})
	if err != nil {
		o.T.Fatal(err)
	}
	o.Persons["deaf"] = &person.Person{Actor: "ann", Name: "Ann", Connection: conn, Publish: o.Persons["ann"].Publish}
}

// A form whose request may be in the log is there again, to be sent once more: that leads to the
// first request.
func TestAFormWithoutAnAcknowledgementIsSentAgainAndAsksOnce(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	deaf(o)
	const path = "/rollouts/shop/web/undo"
	form := o.Form("deaf", path)
	form.Set("reason", "tills fail")
	form.Set("to_revision", "1")
	answer, body := o.Post("deaf", path, form)
	for _, want := range []string{`role="alert"`, "Send this form again", `name="token" value="` + form.Get("token") + `"`, `value="tills fail"`, `<option value="1" selected>`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if answer.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "Nothing was done") || t.Failed() {
		t.Fatalf("%s\n%s", answer.Status, body)
	}
	if answer, body = o.Post("ann", path, form); answer.StatusCode != http.StatusSeeOther {
		t.Fatalf("sent again: %s\n%s", answer.Status, body)
	}
	if got := o.Requests(); len(got) != 1 {
		t.Errorf("the log has %v", got)
	}
}

// A program that had no acknowledgement asks again with its key, and asks once.
func TestAProgramWithoutAnAcknowledgementIsToldHowToAskOnce(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	deaf(o)
	const path, ask = "/api/v1/rollouts/shop/web/requests", `{"verb":"pause"}`
	key := []string{"Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324"}
	if code, _, text := o.Asks("deaf", path, ask, key...); code != http.StatusServiceUnavailable || !strings.Contains(text, "Send it again with the same Idempotency-Key") {
		t.Errorf("%d %s", code, text)
	}
	if code, _, text := o.Asks("ann", path, ask, key...); code != http.StatusAccepted {
		t.Errorf("asked again: %d %s", code, text)
	}
	if got := o.Requests(); len(got) != 1 {
		t.Errorf("the log has %v", got)
	}
	if code, _, text := o.Asks("deaf", path, ask); code != http.StatusServiceUnavailable || !strings.Contains(text, "look into the history") {
		t.Errorf("without a key: %d %s", code, text)
	}
}

// A key stands for one request. With another one it is refused, so that no one takes the first one's
// answer for its own.
func TestAKeyOfAnotherRequestIsRefused(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	const path = "/api/v1/rollouts/shop/web/requests"
	key := []string{"Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324"}
	code, first, text := o.Asks("ann", path, `{"verb":"pause"}`, key...)
	if code != http.StatusAccepted {
		t.Fatalf("%d %s", code, text)
	}
	for _, other := range []string{`{"verb":"abort"}`, `{"verb":"pause","reason":"tills fail"}`, `{"verb":"promote","full":true}`} {
		if code, _, text := o.Asks("ann", path, other, key...); code != http.StatusUnprocessableEntity || !strings.Contains(text, fmt.Sprintf("Request %d came before", first.Sequence)) {
			t.Errorf("%s with the key of a pause: %d %s", other, code, text)
		}
	}
	if got := o.Requests(); len(got) != 1 {
		t.Errorf("the log has %v", got)
	}
}

// What is in the log was asked for, whether the log can be read after that or not.
func TestARequestThatIsInTheLogIsNoErrorWhereItCannotBeReadBack(t *testing.T) {
	t.Parallel()
	_, other := natstest.Start(t).Connect(t) // it has no log
	o := dashboardtest.NewOffice(t, 4, func(o *dashboard.Options) { o.JS = other })
	code, q, text := o.Asks("ann", "/api/v1/rollouts/shop/web/requests", `{"verb":"pause","reason":"tills fail"}`)
	if code != http.StatusAccepted || q.Sequence == 0 || q.Verb != eventlog.RequestPause || q.By != "ann" || q.Name != "web" || q.Reason != "tills fail" || q.State != model.RequestOpen || time.Since(q.Time) > time.Minute {
		t.Errorf("%d %s", code, text)
	}
	if got := o.Requests(); len(got) != 1 {
		t.Errorf("the log has %v", got)
	}
}
