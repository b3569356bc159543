//go:build e2e

package dashboard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const rolloutPage = "/rollouts/default/web"

// asks asks for something about the rollout by its button, by the keyboard alone, and wants that
// the operator did it, for the reason that was given and in the person's own name.
func (b *browser) asks(title, reason string) {
	b.t.Helper()
	b.open(rolloutPage)
	b.goTo("A " + title)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.shows("Reason, for the history")
	b.goTo("INPUT reason")
	b.do(chromedp.KeyEvent(reason))
	b.goTo("BUTTON " + title)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.eventually("the operator did it: "+title, func() bool {
		return strings.HasPrefix(b.text(), "Skip") && b.perhaps("document.querySelector('[role=status] span').innerText") == "done"
	})
	b.shows("by person-operator", reason)
}

// steers has the signed-in operator pause the rollout, let it go on past its first batch, and go
// back, and looks at what came of each.
func (b *browser) steers(t *testing.T) {
	t.Helper()
	b.asks("Pause", "lunch")
	newAxe(t).accessible(b, "what became of a request")
	b.open(rolloutPage)
	b.shows("Held", "by person-operator", "“lunch”")
	b.asks("Resume", "back again")
	b.asks("Promote", "looks good")
	b.open(rolloutPage)
	b.shows("to revision 2", "Completed", "100 healthy")
	b.asks("Undo", "a customer complains")
	b.open(rolloutPage)
	b.shows("Rollback from revision 2 to revision 1", "by person-operator")
	b.open("/events?only=&type=request.&deployment=web")
	b.shows("lunch", "back again", "looks good", "a customer complains")
}

// pings asks a device whether it answers, by the keyboard alone, and looks at the answer.
func (b *browser) pings() {
	b.t.Helper()
	b.open("/devices/edge-01/ping")
	b.goTo("BUTTON Ping")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.shows("edge-01 answered")
	newAxe(b.t).accessible(b, "the answer to a ping")
}

// looksOn wants that a viewer is told who may act, is offered no button, and that what the viewer
// sends by hand, and what a page of another origin has the browser send, is in no log.
func (b *browser) looksOn(t *testing.T) {
	t.Helper()
	b.open(rolloutPage)
	b.shows("You may look at this rollout.", "An operator of the namespace default, or of all namespaces, may ask for something about it.")
	if n := value[int](b, `document.querySelectorAll("main .button, main form[method=post]").length`); n > 0 {
		t.Errorf("a viewer is offered %d buttons", n)
	}
	before := b.requests()
	for _, action := range []string{"pause", "resume", "promote", "promote-full", "abort", "undo", "retry", "retry-failed", "restart"} {
		script := fmt.Sprintf(`fetch(%q, {method: "POST", body: new URLSearchParams({token: "aaaaaaaaaaaaaaaaaaaaaaaaaa", confirm: "yes", reason: "by hand"})}).then((answer) => answer.status)`, rolloutPage+"/"+action)
		if code := run(b, chromedp.Evaluate[int](script, chromedp.EvalAwaitPromise)); code != http.StatusForbidden {
			t.Errorf("a viewer who asks for %s by hand is answered %d", action, code)
		}
	}
	if after := b.requests(); after != before {
		t.Errorf("the log has %d requests, and %d before", after, before)
	}
}

// isNotUsed wants that a page of another origin cannot have the signed-in operator's browser ask
// for something, whether it is of another site or of this one, whose cookies it may send.
func (b *browser) isNotUsed(t *testing.T) {
	t.Helper()
	before := b.requests()
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>elsewhere</title><form method="post" action="%s/pause">
			<input name="token" value="aaaaaaaaaaaaaaaaaaaaaaaaaa"><input name="reason" value="forged"><button id="go">Win</button></form>`, b.base+rolloutPage)
	}))
	defer attacker.Close()
	for _, address := range []string{attacker.URL, strings.Replace(attacker.URL, "127.0.0.1", "localhost", 1)} {
		b.do(chromedp.Navigate(address), chromedp.Click(chromedp.CSS("#go")))
		b.eventually("the form is sent", func() bool { return strings.HasPrefix(b.perhaps("location.href"), b.base) })
		b.shows("A page of another site asked for this.")
		b.do(chromedp.Navigate(address))
		script := fmt.Sprintf(`fetch(%q, {method: "POST", credentials: "include", mode: "no-cors", body: new URLSearchParams({reason: "forged"})}).then(() => "sent", () => "refused")`, b.base+rolloutPage+"/pause")
		run(b, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	}
	b.forget()
	if after := b.requests(); after != before {
		t.Errorf("pages of another origin had the browser ask for something: the log has %d requests, and %d before", after, before)
	}
}

// requests is how many the log has about the Deployment.
func (b *browser) requests() int {
	b.t.Helper()
	b.open("/")
	return run(b, chromedp.Evaluate[int](`fetch("/api/v1/events?type=request.&deployment=web&limit=1000").then((answer) => answer.json()).then((page) => page.events.length)`, chromedp.EvalAwaitPromise))
}
