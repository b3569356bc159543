//go:build e2e

package dashboard_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// choose opens a page, and signs in as a person at the provider's page, by the keyboard.
func (b *browser) choose(path, person string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
	b.eventually("the provider asks who signs in", func() bool { return strings.Contains(b.text(), "Sign in as") })
	b.goTo(person)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.eventually("the provider sends the browser back", func() bool { return strings.HasPrefix(run(b, chromedp.Location()), b.base+"/") })
	b.forget() // that the browser was at the provider
}

// signIn signs in as a person, and wants the page that was asked for.
func (b *browser) signIn(path, person string) {
	b.t.Helper()
	b.choose(path, person)
	b.shows(person, "Sign out")
	if got := b.address(); got != path {
		b.t.Errorf("after the sign-in the page is %s, want %s", got, path)
	}
}

// leaves signs out, and wants that going back shows nothing of the fleet.
func (b *browser) leaves(t *testing.T) {
	t.Helper()
	b.open("/devices")
	b.shows("edge-01")
	b.goTo("BUTTON Sign out")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.shows("You are signed out of the dashboard")
	newAxe(t).accessible(b, "the page of who signed out")
	b.forget()
	if _, err := chromedp.Run(b.ctx, chromedp.NavigateBack()); err != nil {
		t.Logf("going back: %v", err)
	}
	b.eventually("the provider asks who signs in", func() bool { return strings.Contains(b.text(), "Sign in as") })
	if text := b.text(); strings.Contains(text, "edge-") {
		t.Errorf("after the sign-out, going back shows:\n%s", text)
	}
	b.do(chromedp.Navigate(b.base + "/api/v1/devices"))
	if text := b.text(); strings.Contains(text, "edge-") || !strings.Contains(text, "Nobody is signed in") {
		t.Errorf("after the sign-out the JSON of devices is:\n%s", text)
	}
}

// isDenied wants that a person without a role sees nothing but who can help.
func (b *browser) isDenied(t *testing.T) {
	t.Helper()
	b.choose("/devices", "the local guest")
	b.shows("role")
	newAxe(t).accessible(b, "the page of a person without a role")
	if text := b.text(); strings.Contains(text, "edge-") || strings.Contains(text, "Sign out") {
		t.Errorf("a person without a role sees:\n%s", text)
	}
	b.do(chromedp.Navigate(b.base + "/devices"))
	if text := b.text(); strings.Contains(text, "edge-") {
		t.Errorf("a person without a role sees:\n%s", text)
	}
}
