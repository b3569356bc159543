//go:build e2e

// Package dashboard_test looks at the dashboard of a running fleet as a person does: with a
// browser, by its keyboard, on a small screen.
package dashboard_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/deploy/dev"
)

// Settings of a rollout: at once to all, and in two batches, with a person between them.
const (
	atOnce  = `{"strategy":"Immediate"}`
	batches = `{"batches":[{"size":2,"soak":"1s","approval":"Manual"},{"soak":"1s"}],"maxUnavailable":"100%"}`
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

// A person watches a rollout of 40 devices get on without loading the page, goes back and
// forth in time by the keyboard, compares two moments, and can do all of it on a small screen,
// light and dark. No page asks for anything elsewhere, and the browser finds nothing wrong.
func TestAPersonWatchesARolloutAndGoesBackInTime(t *testing.T) {
	err := dev.Run(t.Context(), dev.Options{DataDir: t.TempDir(), Devices: 40, Engine: dev.EngineMemory}, func(ctx context.Context, f *dev.Fleet) error {
		b := newBrowser(ctx, t, f.Env.DashboardURL)
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
		b.shows("to revision 2", "approval", "promote lets it go on")
		if !value[bool](b, "window.sameDocument === true") {
			t.Error("the page was loaded anew to show what changed")
		}
		if n := value[int](b, "document.querySelectorAll('.cells i').length"); n != 40 {
			t.Errorf("there are %d cells, want one for each of 40 devices", n)
		}

		now := b.sequence()
		b.press("#slider", kb.ArrowLeft)
		b.shows("The past")
		b.walk(now)
		b.press("#at", "1"+kb.Enter)
		b.shows("knows no Deployment")
		b.open("/changes?from=1")
		b.shows("things differ", "default/web")
		b.screens()
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.foreign) > 0 {
			t.Errorf("pages ask for %v", b.foreign)
		}
		for _, trouble := range b.troubles {
			if !strings.Contains(trouble, "404") { // the page of a moment before the Deployment
				t.Errorf("the browser says: %s", trouble)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A page that stays open says the same moment everywhere as the log grows, and looks again at
// a log that stands still, for time passes there too.
func TestAPageThatStaysOpenStaysTrue(t *testing.T) {
	err := dev.Run(t.Context(), dev.Options{DataDir: t.TempDir(), Devices: 2, Engine: dev.EngineMemory}, func(ctx context.Context, f *dev.Fleet) error {
		b := newBrowser(ctx, t, f.Env.DashboardURL)
		b.open("/")
		b.shows("2 online")
		value[bool](b, "window.sameDocument = true")
		first := b.sequence()
		if err := apply(ctx, f, "one", atOnce); err != nil {
			return err
		}
		b.shows("1 Deployments")
		b.eventually("one moment in all its places", func() bool {
			n := b.perhaps(`document.querySelector("[data-live=moment]").innerText.match(/event (\d+) of/)[1]`)
			at := "event " + n
			return b.sequence() > first && b.perhaps(`document.getElementById("slider").value`) == n && b.perhaps(`document.getElementById("slider").max`) == n &&
				strings.HasSuffix(b.perhaps(`document.querySelector(".steps").innerText`), at)
		})
		if !value[bool](b, "window.sameDocument === true") {
			t.Error("the page was loaded anew to show what changed")
		}
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

// screens looks at each page on a small screen, light and dark.
func (b *browser) screens() {
	b.t.Helper()
	papers := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		b.narrow(scheme)
		for _, path := range []string{"/", "/deployments", "/deployments/default/web", "/rollouts/default/web", "/devices", "/devices/edge-01", "/changes?from=1"} {
			b.open(path)
			if width := value[int](b, "document.documentElement.scrollWidth"); width > 400 {
				b.t.Errorf("%s is %d wide on a screen of 400", path, width)
			}
			papers[scheme] = value[string](b, "getComputedStyle(document.body).backgroundColor")
		}
	}
	if papers["light"] != "rgb(255, 255, 255)" || papers["dark"] == papers["light"] {
		b.t.Errorf("the paper is %v", papers)
	}
}
