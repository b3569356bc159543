//go:build e2e

package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/dev"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/storytest"
)

// hostile is what a device or a person writes who wants a script of theirs to run in the
// browser of the person who looks.
const hostile = `"'></code></pre></td><script>window.pwned=1</script><img src=x onerror="window.pwned=1"><svg onload=window.pwned=1><a href="javascript:window.pwned=1">x</a>{{.}}`

// Whatever devices and persons write into the log, it is text to the browser of the person who looks;
// and a page of another origin can neither frame the dashboard nor read of it.
func TestABrowserProtectsWhoLooks(t *testing.T) {
	err := dev.Run(t.Context(), dev.Options{DataDir: t.TempDir(), Devices: 1, Engine: dev.EngineMemory}, func(ctx context.Context, f *dev.Fleet) error {
		b := newBrowser(ctx, t, f.Env.DashboardURL)
		infest(ctx, t, f)
		b.open("/")
		b.shows("1 Deployment", "shop/till fails on evil-1")
		b.harmless(t)
		b.quiet("404", "400") // of pages that there are not
		b.elsewhere(t)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// infest appends events that say hostile things wherever somebody may say something: labels,
// names, errors, reasons, causes, values of the environment, messages of rollouts.
func infest(ctx context.Context, t *testing.T, f *dev.Fleet) {
	t.Helper()
	nc, err := f.Env.Connect(nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	env, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	story, shop := storytest.New(t), storytest.Key("shop", "till")
	story.Device("evil-1", map[string]string{"site": "shop"})
	story.Label("evil-1", map[string]string{"site": "shop", "note": hostile}, eventlog.OwnerDevice)
	story.Online("evil-1")
	story.Apply(shop, 1, storytest.Podman("registry.example/till:1"), func(d *eventlog.Deployment) {
		d.ChangeCause, d.RequestedBy.Name = hostile, hostile
		d.Score = fmt.Appendf(nil, `{"data":{"services":[{"name":"till","image":"a","env":{"A":%s}}]},"type":"PodmanV0"}`, env)
		d.ScoreHash = eventlog.Hash(d.Score)
	})
	start := story.Rollout(shop, eventlog.RolloutStarted, 1, 1)
	story.Assign("evil-1", shop, 1, start)
	story.Failing("evil-1", shop, hostile, hostile)
	story.Ask(f.Env.User, shop, eventlog.Request{Verb: eventlog.RequestPause, Reason: hostile})
	story.Run(shop, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Reason: "BatchFailed", Message: hostile})
	for _, e := range story.Events {
		m := &nats.Msg{Subject: e.Subject, Header: e.Header, Data: e.Data}
		if _, err := js.PublishMsg(ctx, m); err != nil {
			t.Fatalf("append to %s: %v", e.Subject, err)
		}
	}
}

// harmless looks at each page that shows hostile things, and wants none of them to be more than
// text to the browser.
func (b *browser) harmless(t *testing.T) {
	t.Helper()
	shown := 0
	for _, path := range []string{
		"/", "/deployments", "/deployments/shop/till", "/rollouts/shop/till", "/devices", "/devices/evil-1", "/changes?from=1", "/events", "/events/7", "/deployments/shop/till?at=20",
		"/devices?name=" + url.QueryEscape(hostile), "/devices?at=" + url.QueryEscape(hostile), "/devices?selector=" + url.QueryEscape(hostile),
		"/devices/" + url.PathEscape(hostile), "/" + url.PathEscape(hostile), "/api/v1/devices/evil-1", "/api/v1/deployments/shop/till", "/api/v1/events",
	} {
		b.do(chromedp.Navigate(b.base + path))
		if value[bool](b, "window.pwned !== undefined") {
			t.Errorf("%s runs a script that somebody wrote into the log", path)
		}
		if n := value[int](b, `document.querySelectorAll("main script, main img, main svg, main [onload], main [onerror], a[href^=javascript]").length`); n > 0 {
			t.Errorf("%s has %d elements that somebody wrote into the log", path, n)
		}
		shown += strings.Count(b.text(), "window.pwned=1")
	}
	if shown < 20 {
		t.Errorf("the pages show it %d times: it does not reach them, and this test proves little", shown)
	}
}

// elsewhere wants that a page of another origin can neither frame the dashboard nor read of it,
// nor have it change something, whether it is of another site or of this one.
func (b *browser) elsewhere(t *testing.T) {
	t.Helper()
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>elsewhere</title><iframe src="%s/"></iframe>`, b.base)
	}))
	defer attacker.Close()
	for site, address := range map[string]string{"the same site": attacker.URL, "another site": strings.Replace(attacker.URL, "127.0.0.1", "localhost", 1)} {
		b.forget()
		b.do(chromedp.Navigate(address))
		b.eventually("the browser refuses to frame the dashboard in a page of "+site, func() bool { return b.says("frame-ancestors 'none'") })
		for _, how := range []string{`{}`, `{mode: "no-cors"}`, `{credentials: "include"}`} {
			script := fmt.Sprintf(`fetch(%q, %s).then((answer) => "answered", () => "refused")`, b.base+"/api/v1/overview", how)
			if got := run(b, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise)); got != "refused" {
				t.Errorf("a page of %s fetches with %s, and is %s", site, how, got)
			}
		}
		script := fmt.Sprintf(`new Promise((tell) => {
			const stream = new EventSource(%q);
			stream.onmessage = () => tell("told of events");
			stream.onerror = () => { stream.close(); tell("refused"); };
		})`, b.base+"/api/v1/events?after=0")
		if got := run(b, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise)); got != "refused" {
			t.Errorf("a page of %s that follows the log is %s", site, got)
		}
	}
}
