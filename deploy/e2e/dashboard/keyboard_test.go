//go:build e2e

package dashboard_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
)

// Scripts about what a keyboard reaches.
const (
	// name is what an element is known by.
	name = `(e) => e.tagName + " " + (e.id || e.matches("a, button") && e.innerText.trim() || e.getAttribute("name") || e.getAttribute("aria-label"))`
	// reachable are the elements of a page that the Tab key should stop at.
	reachable = `Array.from(document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, [tabindex]")).filter((e) => e.getClientRects().length).map(` + name + `)`
	// focused is the element that has the focus, and whether one can see that it has: within the
	// window, with an outline.
	focused = `(() => {
		const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
		return {
			Name: e === document.body ? "" : (` + name + `)(e),
			Seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.width > 0 &&
				box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight,
		};
	})()`
)

// stop is where the Tab key came to.
type stop struct {
	Name string
	Seen bool
}

// tab presses the Tab key and gives where it came to.
func (b *browser) tab() stop {
	b.t.Helper()
	b.do(chromedp.KeyEvent(kb.Tab))
	return value[stop](b, focused)
}

// tabs wants the Tab key to come to each link, button and field of a page in their order, and
// each of them to be seen then.
func (b *browser) tabs(path string) {
	b.t.Helper()
	b.open(path)
	want := value[[]string](b, reachable)
	var got []string
	for range want {
		s := b.tab()
		if !s.Seen {
			b.t.Errorf("%s: one cannot see that %q has the focus", path, s.Name)
		}
		got = append(got, s.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("%s: the Tab key does not come to all in their order (-want +got):\n%s", path, diff)
	}
}

// skips wants the first stop of the Tab key to be a link that leads past the head of a page.
func (b *browser) skips(path string) {
	b.t.Helper()
	b.open(path)
	if s := b.tab(); s.Name != "A Skip to the content" || !s.Seen {
		b.t.Errorf("%s: the Tab key comes to %q first, seen: %v", path, s.Name, s.Seen)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	inMain := value[[]string](b, `Array.from(document.querySelectorAll("main a[href], main button, main input:not([type=hidden]), main select, main [tabindex]")).map(`+name+`)`)
	if s := b.tab(); len(inMain) == 0 || s.Name != inMain[0] {
		b.t.Errorf("%s: after the link past the head, the Tab key comes to %q, want the first of %q", path, s.Name, inMain)
	}
}

// goTo presses the Tab key until an element has the focus of which the name has some words.
func (b *browser) goTo(name string) {
	b.t.Helper()
	var passed []string
	for range 400 {
		s := b.tab()
		if strings.Contains(s.Name, name) {
			return
		}
		if passed = append(passed, s.Name); s.Name == "" && len(passed) > 1 {
			break // around the page
		}
	}
	b.t.Fatalf("the Tab key does not come to %q, but to %q", name, passed)
}

// keyboardAlone goes over pages by the Tab key and Enter alone.
func (b *browser) keyboardAlone(t *testing.T) {
	for _, path := range []string{"/?at=400", "/deployments?at=400", "/deployments/default/web?at=400", "/rollouts/default/web?at=400", "/devices/edge-01?at=400", "/changes?from=100&to=400", "/events?at=400", "/events/45?at=400", "/rollouts/default/web/promote"} {
		b.skips(path)
		b.tabs(path)
	}
	b.open("/")
	b.goTo("A Devices")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.shows("of 200 devices")
	b.goTo("INPUT name")
	b.do(chromedp.KeyEvent("edge-12" + kb.Enter))
	b.shows("11 of 200 devices")
	rows := value[[]string](b, `Array.from(document.querySelectorAll("tbody th")).map((e) => e.innerText)`)
	if len(rows) != 11 || rows[0] != "edge-12" || rows[10] != "edge-129" || !slices.IsSorted(rows) {
		t.Errorf("the devices with edge-12 are %q", rows)
	}
	b.goTo("A edge-124")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.shows("edge-124", "Desired beside observed")
}
