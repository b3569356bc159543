//go:build e2e

package dashboard_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"fleet.nationtech.io/deploy/dev"
)

// A person opens a page, signs in at the provider, is shown that page with their name, follows
// the fleet, and signs out by the keyboard.
func TestAPersonSignsInWithABrowser(t *testing.T) {
	o := dev.Options{DataDir: t.TempDir(), Devices: 3, Engine: dev.EngineMemory, Auth: dev.AuthOIDC}
	err := dev.Run(t.Context(), o, func(ctx context.Context, f *dev.Fleet) error {
		b := newBrowser(ctx, t, f.Env.DashboardURL, chromedp.IgnoreCertErrors)
		b.do(chromedp.Navigate(f.Env.DashboardURL + "/devices?name=edge"))
		b.shows("This OpenID provider is for development", "the local operator")
		b.press(`button[value="operator"]`, kb.Enter)
		b.shows("3 of 3 devices", "the local operator", "Sign out")
		if at := b.address(); at != "/devices?name=edge" {
			t.Errorf("after the sign-in the browser is at %s", at)
		}
		if cookies := value[string](b, "document.cookie"); cookies != "" {
			t.Errorf("a script reads the cookies %q", cookies)
		}
		b.eventually("the page follows the fleet", func() bool {
			return value[bool](b, `document.querySelector("main").dataset.stream.startsWith("/api/v1/events") && document.getElementById("feed").textContent === ""`)
		})
		b.open("/deployments")
		b.shows("the local operator")
		b.press(`.account button`, kb.Enter)
		b.shows("You are signed out")
		if strings.Contains(b.text(), "the local operator") {
			t.Error("the page still has the name")
		}
		b.do(chromedp.Navigate(f.Env.DashboardURL + "/devices"))
		b.shows("Sign in as") // the provider's page: the session has ended
		b.press(`button[value="operator"]`, kb.Enter)
		b.shows("3 of 3 devices", "the local operator")
		if _, err := chromedp.Call(b.ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
			t.Fatal(err)
		}
		b.press(`main input[name="name"]`, kb.Enter)
		b.shows("Sign in as") // by a form, too, which form-action of the policy watches
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
