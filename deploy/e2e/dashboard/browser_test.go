//go:build e2e

package dashboard_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"fleet.nationtech.io/eventlog/needs"
)

// patience is for what a page shows in the end.
const patience = 2 * time.Minute

// browser is a Chromium that looks at one dashboard.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu       sync.Mutex
	foreign  []string // addresses elsewhere that a page of the dashboard asked for
	troubles []string // what the browser says is wrong
}

func newBrowser(ctx context.Context, t *testing.T, base string, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	needs.Program(t, "chromium", "apt-get install chromium")
	allocated, stop := chromedp.NewExecAllocator(ctx, append(more, chromedp.ExecPath("chromium"), chromedp.Headless, chromedp.NoSandbox, chromedp.WindowSize(1200, 900))...)
	t.Cleanup(stop)
	tab, stop := chromedp.NewContext(allocated)
	t.Cleanup(stop)
	b := &browser{t: t, ctx: tab, base: base}
	if err := chromedp.Listen(tab, b.hear); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(tab, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(tab, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	return b
}

// hear notes what a page asks for, and what goes wrong in it.
func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		// A page elsewhere asks for its icon late, when the browser may be here again.
		if strings.HasPrefix(e.DocumentURL, b.base+"/") && !strings.HasPrefix(e.Request.URL, b.base+"/") {
			b.foreign = append(b.foreign, e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		b.troubles = append(b.troubles, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.URL, "favicon.ico") && !forgiven(e.Entry.Text) {
			b.troubles = append(b.troubles, fmt.Sprintf("%s: %s", e.Entry.URL, e.Entry.Text))
		}
	}
}

// forgiven are errors of a slow machine: its interfaces change, and what is asked for takes
// longer than a request may (the status 503), which the page says and asks again.
func forgiven(text string) bool {
	return strings.Contains(text, "ERR_NETWORK_CHANGED") || strings.Contains(text, "responded with a status of 503 ")
}

// forget forgets what the browser said is wrong, and where it was.
func (b *browser) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.troubles, b.foreign = nil, nil
}

// says tells whether the browser said that something is wrong.
func (b *browser) says(part string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.troubles, func(trouble string) bool { return strings.Contains(trouble, part) })
}

// do performs something in the browser.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	run(b, chromedp.Steps(actions...))
}

// run performs something in the browser, and gives what comes of it.
func run[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// open shows a page. The browser gives up what it loads when an interface comes or goes on the
// machine, as those of containers do; then it is asked again.
func (b *browser) open(path string) {
	b.t.Helper()
	b.eventually("a page is loaded: "+path, func() bool {
		ctx, stop := context.WithTimeout(b.ctx, patience)
		defer stop()
		err := chromedp.Do(ctx, chromedp.Navigate(b.base+path), chromedp.WaitReady(chromedp.CSS("main")))
		if err != nil && !strings.Contains(err.Error(), "ERR_NETWORK_CHANGED") {
			b.t.Fatal(err)
		}
		return err == nil
	})
}

// text is what a person reads of a page; empty while another one is on its way.
func (b *browser) text() string { return b.perhaps("document.body.innerText") }

// perhaps gives what a script gives; empty where the page has nothing of it, or is left just
// then.
func (b *browser) perhaps(script string) string {
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string](script))
	if err != nil {
		return ""
	}
	return v
}

// address is the page that is shown.
func (b *browser) address() string {
	b.t.Helper()
	return strings.TrimPrefix(run(b, chromedp.Location()), b.base)
}

// press gives an element the focus, and presses keys.
func (b *browser) press(selector, keys string) {
	b.t.Helper()
	b.do(chromedp.Focus(chromedp.CSS(selector)), chromedp.KeyEvent(keys))
}

// shows waits until a page shows all of some words.
func (b *browser) shows(words ...string) {
	b.t.Helper()
	b.eventually(strings.Join(words, ", "), func() bool {
		text := b.text()
		for _, w := range words {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	})
}

func (b *browser) eventually(what string, holds func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			b.t.Fatalf("not within %s: %s; the page is %s:\n%s", patience, what, b.address(), b.text())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// value is what a script gives.
func value[T any](b *browser, script string) T {
	b.t.Helper()
	return run(b, chromedp.Evaluate[T](script))
}

// hasten lets what pages do again and again happen so many times as often.
func (b *browser) hasten(times int) {
	b.t.Helper()
	script := fmt.Sprintf("const every = setInterval; window.setInterval = (what, pause) => every(what, pause / %d);", times)
	if _, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		b.t.Fatal(err)
	}
}

// screen makes the window so many pixels wide and high, and light or dark.
func (b *browser) screen(width, height int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		b.t.Fatal(err)
	}
}
