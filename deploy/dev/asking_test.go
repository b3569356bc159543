package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// desk is the dashboard of a fleet, before a person who signed in.
type desk struct {
	door
	*browser
	story *story
}

// sitDown has a person sign in. Without a name nobody does.
func (d door) sitDown(user string) desk {
	d.t.Helper()
	kube, err := versioned.NewForConfig(d.RestConfig)
	if err != nil {
		d.t.Fatal(err)
	}
	nc, err := d.Env.Connect()
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		d.t.Fatal(err)
	}
	k := desk{d, d.browser(), &story{fleet: d.Fleet, kube: kube, js: js, out: d.t.Output(), name: "web", devices: ids(d.Devices)}}
	if p := k.signIn(d.url+"/", user); p.StatusCode != http.StatusOK {
		d.t.Fatalf("%s does not get in: %s\n%s", user, p.Status, p.body)
	}
	return k
}

// apply applies a revision of web: one device, then an approval, then the others.
func (k desk) apply(ctx context.Context, image, approval string) {
	k.door.t.Helper()
	text := fmt.Sprintf(`
apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  targetSelector: {matchLabels: {site: lab}}
  rollout: {batches: [{size: 1, soak: 1s, approval: %s}, {soak: 1s}], maxUnavailable: 100%%}
  score: {type: PodmanV0, data: {services: [{name: main, image: "example.org/app:%s"}]}}`, approval, image)
	if err := k.story.applyYAML(ctx, []byte(text)); err != nil {
		k.door.t.Fatal(err)
	}
}

// stands waits until the rollout of web stands in a way, as its page says.
func (k desk) stands(ctx context.Context, what string, is func(rolloutPage) bool) (r rolloutPage) {
	k.door.t.Helper()
	err := until(ctx, time.Minute, func(context.Context) (bool, string, error) {
		p := k.get(k.url + "/api/v1/rollouts/default/web")
		r = rolloutPage{}
		if err := json.Unmarshal([]byte(p.body), &r); err != nil {
			return false, "", err
		}
		return is(r), p.body, nil
	})
	if err != nil {
		k.door.t.Fatalf("the rollout is not %s: %v", what, err)
	}
	return r
}

// rolloutPage is what is read of the JSON of a rollout's page.
type rolloutPage struct {
	Progress struct {
		State    string
		Revision uint64
		Batches  []struct{ State string }
	}
	Actions []struct {
		Action   string
		Possible bool
	}
	Seen map[string]uint64
}

func inState(revision uint64, state string) func(rolloutPage) bool {
	return func(r rolloutPage) bool { return r.Progress.Revision == revision && r.Progress.State == state }
}

func awaitsApproval(revision uint64) func(rolloutPage) bool {
	return func(r rolloutPage) bool {
		return r.Progress.Revision == revision && len(r.Progress.Batches) > 0 && r.Progress.Batches[0].State == "approval"
	}
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`)

// form gives what the form of an action has.
func (k desk) form(path string) url.Values {
	k.door.t.Helper()
	p := k.get(k.url + path)
	if p.StatusCode != http.StatusOK || !strings.Contains(p.body, `class="act"`) {
		k.door.t.Fatalf("%s has no form: %s\n%s", path, p.Status, p.body)
	}
	form := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(p.body, -1) {
		form.Set(m[1], m[2])
	}
	return form
}

// submit sends a form as a browser does, and gives the page to which it leads.
func (k desk) submit(path string, form url.Values) page {
	k.door.t.Helper()
	return k.follow(k.do(http.MethodPost, k.url+path, form, "Sec-Fetch-Site", "same-origin", "Origin", "null"))
}

// ask sends a form, and waits until the page to which it leads says so. A person loads the page
// of a request again whose answer is late, and sends a form again that came at a bad moment: it
// does not ask twice.
func (k desk) ask(path string, form url.Values, says ...string) {
	k.door.t.Helper()
	p := k.submit(path, form)
	err := until(k.door.t.Context(), time.Minute, func(context.Context) (bool, string, error) {
		if p.StatusCode == http.StatusOK && !slices.ContainsFunc(says, func(s string) bool { return !strings.Contains(p.body, s) }) {
			return true, "", nil
		}
		saw := fmt.Sprintf("%s at %s\n%s", p.Status, p.Request.URL, p.body)
		if p.Request.URL.Path == path {
			p = k.submit(path, form)
		} else {
			p = k.get(p.Request.URL.String())
		}
		return false, saw, nil
	})
	if err != nil {
		k.door.t.Fatalf("%s does not say %q: %v", path, says, err)
	}
}

// act asks for something, and expects what the page says then.
func (k desk) act(path, says string, more ...string) {
	k.door.t.Helper()
	form := k.form(path)
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	k.ask(path, form, says)
}

// said are the requests of the log and the operator's answers to them: by whom, and what.
func (k desk) said(ctx context.Context) (all []string) {
	k.door.t.Helper()
	for e, err := range reader.Read(ctx, k.story.js, reader.Options{Subjects: []string{
		eventlog.FamilySubjects(eventlog.FamilyRequest), eventlog.DeploymentSubject(namespace, "web"), eventlog.AccessSubject(k.Devices[0].ID),
	}}) {
		if errors.Is(err, eventlog.ErrForeign) {
			continue
		}
		if err != nil {
			k.door.t.Fatal(err)
		}
		switch q, err := eventlog.Payload[eventlog.Request](e); {
		case err != nil:
		case e.Type == eventlog.RequestMade:
			all = append(all, fmt.Sprintf("%s asks to %s by %s", e.Actor, q.Verb, e.Source))
		case strings.HasPrefix(e.Actor, "person-"):
			all = append(all, fmt.Sprintf("%s for %s", e.Type, e.Actor))
		}
	}
	return all
}

// An operator leads a rollout from its page: the events of the log name the person, and the real
// operator answers. Who may only look does nothing by hand, and neither does an operator of
// another namespace.
func TestAnOperatorLeadsARolloutFromItsPage(t *testing.T) {
	t.Parallel()
	roles, err := service.ParseRoles("here=person:operator:default,elsewhere=person:operator:shop")
	if err != nil {
		t.Fatal(err)
	}
	withDoor(t, func(ctx context.Context, d door) {
		k := d.sitDown("operator")
		device := d.Devices[0].ID
		k.apply(ctx, "1", "Automatic")
		k.stands(ctx, "completed", inState(1, "Completed"))
		k.apply(ctx, "2", "Manual")
		k.stands(ctx, "waiting for a person", awaitsApproval(2))

		k.act("/rollouts/default/web/pause", "is on hold", "reason", "shop 17 <script>alert(1)</script>")
		k.act("/rollouts/default/web/resume", "goes on")
		k.stands(ctx, "waiting for a person", awaitsApproval(2))
		old := k.form("/rollouts/default/web/promote")
		k.act("/rollouts/default/web/promote", "goes on after batch 1")
		k.stands(ctx, "completed", inState(2, "Completed"))
		k.ask("/rollouts/default/web/promote", old, "Outdated", "refused") // the form of a page of before
		k.act("/rollouts/default/web/undo", "goes back from revision 2 to 1")
		k.stands(ctx, "rolled back", inState(2, "RolledBack"))

		k.act("/devices/"+device+"/ping", "answered</span> in")
		k.act("/devices/"+device+"/revoke", "is revoked", "confirm", "yes")
		k.act("/devices/"+device+"/allow", "is allowed")

		who := "person-operator"
		want := []string{
			who + " asks to pause by dashboard", "rollout.paused for " + who, who + " asks to resume by dashboard", "rollout.resumed for " + who,
			who + " asks to promote by dashboard", "rollout.promoted for " + who, who + " asks to promote by dashboard", "rollout.request_refused for " + who,
			who + " asks to undo by dashboard", "rollout.started for " + who,
			who + " asks to revoke by dashboard", "access.revoked for " + who, who + " asks to allow by dashboard", "access.allowed for " + who,
		}
		if diff := cmp.Diff(want, k.said(ctx)); diff != "" {
			t.Errorf("the log (-want +got):\n%s", diff)
		}
		if p := k.get(k.url + "/events"); strings.Contains(p.body, "<script>alert") {
			t.Errorf("a reason is markup:\n%s", p.body)
		}

		before := k.said(ctx)
		d.person("sue", "elsewhere")
		for _, user := range []string{"viewer", "sue"} {
			mayNot(t, d, k, user)
		}
		if diff := cmp.Diff(before, k.said(ctx)); diff != "" {
			t.Errorf("who may not ask has changed the log (-before +after):\n%s", diff)
		}
		d.person("sam", "here")
		sam := d.sitDown("sam")
		sam.act("/rollouts/default/web/pause", "is on hold")
		if got := sam.said(ctx); !slices.Contains(got, "rollout.paused for person-sam") {
			t.Errorf("an operator of the namespace pauses there, and the log has %q", got)
		}
	}, func(o *Options) { o.Devices, o.roles = 3, roles })
}

// mayNot tries each action as somebody who may not: by hand, with a session and with a token.
func mayNot(t *testing.T, d door, operator desk, user string) {
	t.Helper()
	k := d.sitDown(user)
	token := d.token(user)
	seen := operator.stands(t.Context(), "there", func(rolloutPage) bool { return true })
	device := d.Devices[0].ID
	form := func(confirm string) url.Values {
		f := url.Values{"token": {"0123456789abcdef0123"}, "reason": {"by hand"}, "confirm": {confirm}}
		for name, n := range seen.Seen {
			f.Set(name, fmt.Sprint(n))
		}
		return f
	}
	try := map[string]url.Values{}
	for _, a := range seen.Actions {
		try["/rollouts/default/web/"+a.Action] = form("yes")
	}
	try["/deployments/default/web/withdraw"] = form("yes")
	for _, verb := range []string{"ping", "revoke", "allow", "decommission"} {
		confirm := map[string]string{"decommission": device}[verb]
		if confirm == "" {
			confirm = "yes"
		}
		try["/devices/"+device+"/"+verb] = form(confirm)
	}
	if len(try) < 14 {
		t.Fatalf("only %d actions are tried", len(try))
	}
	for path, form := range try {
		if p := k.get(d.url + path); p.StatusCode != http.StatusForbidden || strings.Contains(p.body, `class="act"`) {
			t.Errorf("%s is shown %s: %s", user, path, p.Status)
		}
		if p := k.do(http.MethodPost, d.url+path, form, "Sec-Fetch-Site", "same-origin"); p.StatusCode != http.StatusForbidden {
			t.Errorf("%s may %s by a session: %s\n%s", user, path, p.Status, p.body)
		}
		stranger := d.browser()
		if p := stranger.do(http.MethodPost, d.url+path, form, "Authorization", "Bearer "+token); p.StatusCode != http.StatusForbidden {
			t.Errorf("%s may %s by a token: %s\n%s", user, path, p.Status, p.body)
		}
		at, verb, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		about := verb[:strings.LastIndex(verb, "/")]
		verb = verb[strings.LastIndex(verb, "/")+1:]
		address := fmt.Sprintf("%s/api/v1/%s/%s/requests", d.url, at, about)
		if verb == "ping" {
			address = fmt.Sprintf("%s/api/v1/devices/%s/ping", d.url, device)
		}
		body := fmt.Sprintf(`{"verb":%q}`, verb)
		if verb == "promote-full" {
			body = `{"verb":"promote","full":true}`
		}
		p := stranger.json(address, body, "Authorization", "Bearer "+token)
		if p.StatusCode != http.StatusForbidden || !json.Valid([]byte(p.body)) {
			t.Errorf("%s may %s by the API: %s\n%s", user, path, p.Status, p.body)
		}
	}
	p := k.get(d.url + "/rollouts/default/web")
	if strings.Contains(p.body, `href="/rollouts/default/web/`) || !strings.Contains(p.body, "An operator of the namespace default") {
		t.Errorf("%s is offered actions, or is not told who may:\n%s", user, p.body)
	}
}

// json sends JSON as a program does.
func (b *browser) json(address, body string, header ...string) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{answer, string(text)}
}
