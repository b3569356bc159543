package dashboardtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/person"
)

// peoplesConfig is that of servers with account PEOPLE, as far as a person's requests need it.
// deploy/accounts renders the whole of it, and what each may do.
func peoplesConfig() string {
	const all = eventlog.Wildcard
	of := func(user, namespace string) string { return eventlog.RequestSubject(user, namespace, all) }
	services := []string{of(all, all), eventlog.DeviceRequestSubject(all, all), eventlog.DeviceCommandSubject(all, all)}
	var exports, imports strings.Builder
	for _, s := range services {
		fmt.Fprintf(&exports, "{ service: %q, accounts: [PEOPLE] }\n", s)
		fmt.Fprintf(&imports, "{ service: { account: FLEET, subject: %q } }\n", s)
	}
	return fmt.Sprintf(`
accounts {
  FLEET {
    jetstream: enabled
    exports: [ %s ]
    users: [ { user: operator, password: p } ]
  }
  PEOPLE {
    imports: [ %s ]
    users: [
      { user: ann, password: p, permissions: { subscribe: "_INBOX.>", publish: [%q, %q, %q] } }
      { user: sam, password: p, permissions: { subscribe: "_INBOX.>", publish: [%q] } }
      { user: vic, password: p, permissions: { subscribe: "_INBOX.>", publish: ["%s.>"] } } ]
  }
}`, &exports, &imports,
		of("ann", all), eventlog.DeviceRequestSubject("ann", all), eventlog.DeviceCommandSubject(all, eventlog.VerbPing),
		of("sam", "shop"), eventlog.PeopleAPIPrefix)
}

// Office is a site with persons: ann may ask for everything, sam in namespace shop, vic for
// nothing. Of liz the dashboard believes that she may, and the servers know better.
type Office struct {
	*Site
	Operator *nats.Conn
}

// NewOffice serves a fleet in the middle of a rollout, of so many devices, to persons.
func NewOffice(t testing.TB, devices int, change ...func(*dashboard.Options)) *Office {
	t.Helper()
	server := natstest.Start(t, natstest.Config(t, peoplesConfig()))
	nc, js := server.Connect(t, nats.UserInfo("operator", "p"))
	natstest.EnsureLog(t, js, 1)
	Publish(t, js, RolloutStory(t, devices))
	o := &Office{Site: New(t, js, change...), Operator: nc}
	o.Persons = map[string]*person.Person{}
	for name, publish := range map[string][]string{
		"ann": {"fleet.evt.request.ann.*.*", "fleet.evt.request.ann.*", "device-commands.*.ping"}, "sam": {"fleet.evt.request.sam.shop.*"}, "vic": {"fleet.api.>"},
	} {
		conn, _ := server.Connect(t, nats.UserInfo(name, "p"))
		o.Persons[name] = &person.Person{Actor: name, Name: strings.ToUpper(name), Connection: conn, Publish: publish}
	}
	o.Persons["liz"] = &person.Person{Actor: "vic", Name: "Liz", Connection: o.Persons["vic"].Connection, Publish: []string{">"}}
	return o
}

// Post sends a form as a browser does from a page of the site. A header that is empty is left
// out.
func (o *Office) Post(who, path string, form url.Values, header ...string) (*http.Response, string) {
	o.T.Helper()
	return o.Send(who, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin", "Origin", "null"}, header...)...)
}

// Send posts a body of any type. A header that is empty is left out.
func (o *Office) Send(who, path, body string, header ...string) (*http.Response, string) {
	o.T.Helper()
	r, err := http.NewRequestWithContext(o.T.Context(), http.MethodPost, o.Server.URL+path, strings.NewReader(body))
	if err != nil {
		o.T.Fatal(err)
	}
	r.Header.Set(AsPerson, who)
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		o.T.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		o.T.Fatal(err)
	}
	return answer, string(b)
}

var fieldPattern = regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`)

// Form gives the form of a page as a browser would send it.
func (o *Office) Form(who, path string) url.Values {
	o.T.Helper()
	answer, body := o.Get(path, AsPerson, who)
	if answer.StatusCode != http.StatusOK || !strings.Contains(body, `<form method="post" class="act"`) {
		o.T.Fatalf("%s: %s\n%s", path, answer.Status, body)
	}
	values := url.Values{}
	for _, m := range fieldPattern.FindAllStringSubmatch(body, -1) {
		values.Set(m[1], m[2])
	}
	return values
}

// Act asks for something by its page, and gives the page that says what became of it.
func (o *Office) Act(who, path string, more ...string) (address, body string) {
	o.T.Helper()
	form := o.Form(who, path)
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	answer, body := o.Post(who, path, form)
	if answer.StatusCode != http.StatusSeeOther {
		o.T.Fatalf("POST %s: %s\n%s", path, answer.Status, body)
	}
	address = answer.Header.Get("Location")
	answer, body = o.Get(address, AsPerson, who)
	if answer.StatusCode != http.StatusOK {
		o.T.Fatalf("GET %s: %s\n%s", address, answer.Status, body)
	}
	return address, body
}

// Requests gives those in the log: by whom, about what, and what they ask for.
func (o *Office) Requests() []string {
	o.T.Helper()
	var all []string
	for e, err := range reader.Read(o.T.Context(), o.JS, reader.Options{Subjects: []string{eventlog.FamilySubjects(eventlog.FamilyRequest)}}) {
		if err != nil {
			o.T.Fatal(err)
		}
		q, err := eventlog.Payload[eventlog.Request](e)
		if err != nil {
			o.T.Fatal(err)
		}
		text := fmt.Sprintf("%s %s%s", e.Actor, q.Verb, map[bool]string{true: " full"}[q.Full])
		if q.Reason != "" {
			text += " because " + q.Reason
		}
		all = append(all, text)
	}
	return all
}

// AnswerRequests answers each request as an operator would that does what it is asked, or refuses it.
func (o *Office) AnswerRequests(answer func(eventlog.Event, eventlog.Request) eventlog.Draft) {
	o.T.Helper()
	sub, err := o.Operator.Subscribe(eventlog.FamilySubjects(eventlog.FamilyRequest), func(m *nats.Msg) {
		last, err := o.JS.Stream(o.T.Context(), eventlog.LogStream)
		var stored *jetstream.RawStreamMsg
		for err == nil && stored == nil { // it is heard before it is stored
			stored, err = last.GetLastMsgForSubject(o.T.Context(), m.Subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				err = nil
			}
			if stored != nil && stored.Header.Get(jetstream.MsgIDHeader) != m.Header.Get(jetstream.MsgIDHeader) {
				stored = nil // it is the one before
			}
		}
		if err != nil {
			return // the test is over
		}
		e := eventlog.Event{Sequence: stored.Sequence, Subject: m.Subject, Time: stored.Time, Version: 1, Data: m.Data, Header: m.Header}
		if err := e.Decode(); err != nil {
			o.T.Error(err)
			return
		}
		q, err := eventlog.Payload[eventlog.Request](e)
		if err == nil {
			_, err = appender.Unfenced(o.T.Context(), o.JS, "test", answer(e, q))
		}
		if err != nil && o.T.Context().Err() == nil {
			o.T.Error(err)
		}
	})
	if err != nil {
		o.T.Fatal(err)
	}
	o.T.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := o.Operator.Flush(); err != nil { // else a request could come before the subscription
		o.T.Fatal(err)
	}
}

// RolloutAnswer is an event that answers a request about the rollout of the story.
func RolloutAnswer(t testing.TB, typ eventlog.Type, e eventlog.Event, r eventlog.Rollout) eventlog.Draft {
	r.Request = e.Sequence
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(Web.Namespace, Web.Name), typ, time.Now(), r)
	if err != nil {
		t.Error(err)
	}
	d.Actor = e.Address.User
	return d
}

// Rollout is the JSON of the page of the story's rollout.
func (o *Office) Rollout() (m model.Rollout) {
	o.T.Helper()
	_, body := o.Get("/api/v1/rollouts/shop/web")
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		o.T.Fatal(err)
	}
	return m
}

// Asks sends what a program asks for, with a token.
func (o *Office) Asks(who, path, body string, header ...string) (code int, q model.Request, text string) {
	o.T.Helper()
	answer, text := o.Send(who, path, body, append([]string{"Authorization", "Bearer of-" + who, "Content-Type", "application/json"}, header...)...)
	if answer.StatusCode < 300 {
		if err := json.Unmarshal([]byte(text), &q); err != nil {
			o.T.Fatal(err)
		}
	}
	return answer.StatusCode, q, text
}
