//go:build e2e

// Package dashboard_test looks at the dashboard of a running fleet as a person does: with a
// browser, by its keyboard, on a small screen.
package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/deploy/dev"
)

// Settings of a rollout: at once to all, and in three batches, with a person after the first one.
const (
	atOnce  = `{"strategy":"Immediate"}`
	batches = `{"batches":[{"size":20,"soak":"1s","approval":"Manual"},{"size":"50%","soak":"1s"},{"soak":"1s"}],"maxUnavailable":"100%"}`
)

// apply applies the Deployment with a value that makes each revision another one.
func apply(ctx context.Context, f *dev.Fleet, value, settings string) error {
	kube, err := versioned.NewForConfig(f.RestConfig)
	if err != nil {
		return err
	}
	d := `{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":"web","namespace":"default"},"spec":{
		"targetSelector":{"matchLabels":{"site":"lab"}},"rollout":` + settings + `,
		"score":{"type":"PodmanV0","data":{"services":[{"name":"main","image":"example.org/app:1","env":{"N":` + strconv.Quote(value) + `}}]}}}}`
	if !json.Valid([]byte(d)) {
		panic(d)
	}
	_, err = kube.FleetV1alpha1().Deployments("default").Patch(ctx, "web", types.ApplyPatchType, []byte(d), metav1.PatchOptions{FieldManager: "kubectl"})
	return err
}

// A person signs in, watches a rollout of 200 devices get on without loading the page, goes back and
// forth in time by the keyboard, compares two moments, and can do all of it on a small screen,
// light and dark. No page asks for anything elsewhere, and neither the browser nor axe-core finds
// anything wrong.
func TestAPersonWatchesARolloutAndGoesBackInTime(t *testing.T) {
	err := dev.Run(t.Context(), dev.Options{DataDir: t.TempDir(), Devices: 200, Engine: dev.EngineMemory, Auth: dev.AuthOIDC}, func(ctx context.Context, f *dev.Fleet) error {
		// The browser does not know the authority of the development provider's certificate.
		somebody := func() *browser { return newBrowser(ctx, t, f.Env.DashboardURL, chromedp.IgnoreCertErrors) }
		somebody().isDenied(t)
		b := somebody()
		b.signIn("/devices?state=online", "the local operator")
		if err := apply(ctx, f, "one", atOnce); err != nil {
			return err
		}
		b.eventually("the Deployment is known", func() bool {
			b.open("/deployments/default/web")
			return strings.Contains(b.text(), "Ready")
		})
		b.shows("Ready True", "site=lab")

		b.open("/rollouts/default/web")
		value[bool](b, "window.sameDocument = true")
		if err := apply(ctx, f, "two", batches); err != nil {
			return err
		}
		b.shows("to revision 2", "approval", "promote lets it go on", "20 healthy")
		if !value[bool](b, "window.sameDocument === true") {
			t.Error("the page was loaded anew to show what changed")
		}
		if n := value[int](b, "document.querySelectorAll('.cells i').length"); n != 200 {
			t.Errorf("there are %d cells, want one for each of 200 devices", n)
		}

		now := b.sequence()
		b.press("#slider", kb.ArrowLeft)
		b.shows("The past")
		b.walk(now)
		b.press("#at", "1"+kb.Enter)
		b.shows("knows no Deployment")
		b.open("/changes?from=1")
		b.shows("things differ", "default/web")
		b.keyboardAlone(t)
		b.picture(t, "overview", "/", "light")
		b.picture(t, "rollout", "/rollouts/default/web", "light")
		b.picture(t, "device", "/devices/edge-01", "dark")
		b.screens()
		b.steers(t)
		b.pings()
		b.quiet("404") // of the page of a moment before the Deployment, and of no page
		b.isNotUsed(t)
		viewer := somebody()
		viewer.signIn(rolloutPage, "the local viewer")
		viewer.looksOn(t)
		viewer.quiet("a status of 403 ") // of what the viewer sends by hand
		b.quiet()
		b.leaves(t)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A page that stays open says the same moment everywhere as the log grows, misses no event while
// the operator is restarted, and looks again at a log that stands still, for time passes there
// too.
func TestAPageThatStaysOpenStaysTrue(t *testing.T) {
	err := dev.Run(t.Context(), dev.Options{DataDir: t.TempDir(), Devices: 2, Engine: dev.EngineMemory}, func(ctx context.Context, f *dev.Fleet) error {
		b := newBrowser(ctx, t, f.Env.DashboardURL)
		b.noteStreams()
		b.open("/")
		b.shows("2 online")
		value[bool](b, "window.sameDocument = true")
		first := b.sequence()
		if err := apply(ctx, f, "one", atOnce); err != nil {
			return err
		}
		b.shows("1 Deployment")
		b.eventually("one moment in all its places", func() bool {
			n := b.perhaps(`document.querySelector("[data-live=moment]").innerText.match(/event (\d+) of/)[1]`)
			at := "event " + n
			return b.sequence() > first && b.perhaps(`document.getElementById("slider").value`) == n && b.perhaps(`document.getElementById("slider").max`) == n &&
				strings.HasSuffix(b.perhaps(`document.querySelector(".steps").innerText`), at)
		})
		if !value[bool](b, "window.sameDocument === true") {
			t.Error("the page was loaded anew to show what changed")
		}
		b.survivesARestart(ctx, f)
		b.hasten(20)
		b.open("/")
		b.eventually("the page is asked for again without news", func() bool {
			return value[int](b, `performance.getEntriesByType("resource").filter((e) => e.name === location.href).length`) > 2
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sequence is the event of which the page is; 0 while another page is on its way.
func (b *browser) sequence() int {
	n, err := strconv.Atoi(b.perhaps("document.getElementById('slider').value"))
	if err != nil {
		return 0
	}
	return n
}

// walk goes to the changes before, and back to now, by the keyboard alone.
func (b *browser) walk(now int) {
	b.t.Helper()
	at := now
	for range 3 {
		b.press("a[rel=prev]", kb.Enter)
		b.eventually("an earlier change", func() bool { n := b.sequence(); return n > 0 && n < at })
		at = b.sequence()
	}
	b.press("a[rel=next]", kb.Enter)
	b.eventually("a later change", func() bool { return b.sequence() > at })
	b.press(".steps a[href='/rollouts/default/web']", kb.Enter)
	b.shows("Now")
}

// quiet wants that no page asked for anything elsewhere, and that the browser found nothing wrong
// but what is expected. The policy of a page is kept by the browser, which says where it had to.
func (b *browser) quiet(expected ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.foreign) > 0 {
		b.t.Errorf("pages ask for %v", b.foreign)
	}
	for _, trouble := range b.troubles {
		if !slices.ContainsFunc(expected, func(part string) bool { return strings.Contains(trouble, part) }) {
			b.t.Errorf("the browser says: %s", trouble)
		}
	}
}

// screens looks at each page on a wide and on a small screen, light and dark: none is wider than
// the screen, and axe-core finds nothing serious.
func (b *browser) screens() {
	b.t.Helper()
	finder := newAxe(b.t)
	papers := map[string]string{}
	for _, width := range []int64{1200, 400} {
		for _, scheme := range []string{"light", "dark"} {
			b.screen(width, 800, scheme)
			for _, path := range []string{"/", "/deployments", "/deployments/default/web", "/rollouts/default/web", "/devices", "/devices/edge-01", "/events", "/events/45", "/changes?from=1", "/devices?at=7", "/rollouts/default/web/abort", "/devices/edge-01/ping", "/devices/edge-01/decommission", "/nothing"} {
				b.open(path)
				if has := value[int64](b, "document.documentElement.scrollWidth"); has > width {
					b.t.Errorf("%s is %d wide on a screen of %d", path, has, width)
				}
				papers[scheme] = value[string](b, "getComputedStyle(document.body).backgroundColor")
				finder.accessible(b, fmt.Sprintf("%s, %s, %d wide", path, scheme, width))
			}
		}
	}
	if papers["light"] != "rgb(255, 255, 255)" || papers["dark"] == papers["light"] {
		b.t.Errorf("the paper is %v", papers)
	}
}
