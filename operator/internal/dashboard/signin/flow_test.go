package signin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/operator/internal/dashboard/session"
)

// A browser holds redirects of a form against the Content-Security-Policy's form-action, so a
// page without a session that is opened by a form must not be redirected to the provider.
func TestASignInLeavesByAPageAndNoRedirect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	answer := ask(t.Context(), w.open, http.MethodGet, signInPath)
	refresh := answer.Header().Get("Refresh")
	if answer.Code != http.StatusOK || answer.Header().Get("Location") != "" || !strings.HasPrefix(refresh, "0; url="+w.provider.URL+"/authorize?") {
		t.Fatalf("%d to %q", answer.Code, refresh)
	}
	if address := strings.TrimPrefix(refresh, "0; url="); !strings.Contains(answer.Body.String(), address) || answer.Header().Get("Cache-Control") != "private, no-store" {
		t.Errorf("the page has no link to %q: %s", address, answer.Body)
	}
}

func TestAPersonSignsInAndOut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*Options)
		client string // how the client proves itself
	}{
		"a public client":        {func(*Options) {}, "params"},
		"a client with a secret": {func(o *Options) { o.ClientSecretFile = secretFile(t) }, "header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.change)
			w.nats.Grant(w.provider.token("ada"), "person-ada", nil)
			answer := w.callback(w.begin())
			if answer.Code != http.StatusSeeOther || answer.Header().Get("Location") != "/devices" {
				t.Fatalf("%d %s", answer.Code, answer.Body)
			}
			w.provider.set(func(p *idp) {
				if strings.Join(p.clients, " ") != tt.client {
					t.Errorf("the provider was asked for tokens by %q, want once by %q", p.clients, tt.client)
				}
			})
			cookie := ""
			for _, c := range answer.Result().Cookies() {
				if c.Name == SessionCookie {
					cookie = c.Name + "=" + c.Value
				}
			}
			if answer := ask(t.Context(), w.closed, http.MethodGet, "/", "Cookie", cookie); answer.Body.String() != "person-ada" {
				t.Errorf("%d %s", answer.Code, answer.Body)
			}
			if all := w.signIn.logins.Keys(); len(all) != 1 {
				t.Errorf("it is looked for the sessions %q, want that of the sign-in", all)
			}
			ask(t.Context(), w.open, http.MethodPost, SignOutPath, "Cookie", cookie)
			if answer := ask(t.Context(), w.closed, http.MethodGet, "/api/v1/overview", "Cookie", cookie); answer.Code != http.StatusUnauthorized {
				t.Errorf("after the sign-out: %d %s", answer.Code, answer.Body)
			}
		})
	}
}

// A sign-out needs no session, so it must not write for one that is made up.
func TestASignOutOfNobodyWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine := w.session("ada")
	spy, _ := w.nats.Connect(t, nats.UserInfo("operator", "secret"))
	purges, err := spy.SubscribeSync("$JS.API.STREAM.PURGE.>")
	if err == nil {
		err = spy.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		for _, cookie := range []string{SessionCookie + "=" + session.NewSecret(), SessionCookie + "=x", SessionCookie + "=" + strings.Repeat("A", 100_000)} {
			if answer := ask(t.Context(), w.open, http.MethodPost, SignOutPath, "Cookie", cookie); answer.Code != http.StatusSeeOther {
				t.Fatalf("%d %s", answer.Code, answer.Body)
			}
		}
	}
	ask(t.Context(), w.open, http.MethodPost, SignOutPath, "Cookie", mine)
	if _, err := purges.NextMsg(time.Minute); err != nil {
		t.Fatalf("the sign-out of a session: %v", err)
	}
	if n, _, err := purges.Pending(); err != nil || n != 0 {
		t.Errorf("made-up cookies had %d purges: %v", n, err)
	}
	if n := testutil.ToFloat64(w.signIn.metrics.signOuts); n != 1 {
		t.Errorf("%v sign-outs are counted, want 1", n)
	}
}

func TestWhatAPersonIsToldOfAnAnswerThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.nats.Grant(w.provider.token("ada"), "person-ada", nil)
	attempt, at := w.begin()
	w.provider.set(func(p *idp) { p.broken = true })
	answer := w.callback(attempt, at)
	if body := answer.Body.String(); answer.Code != http.StatusServiceUnavailable || strings.Contains(body, "500") || strings.Contains(body, "get a token") || !strings.Contains(body, "does not answer as it should") {
		t.Errorf("of a fault of the provider: %d %s", answer.Code, body)
	}
	if w.log.count("500") != 1 {
		t.Errorf("the log says\n%s", w.log.text.String())
	}
	answer = ask(t.Context(), w.open, http.MethodGet, callbackPath+"?code=c&state=x")
	if answer.Code != http.StatusBadRequest || w.log.count("a person was not signed in") != 1 {
		t.Errorf("an answer that was made up: %d %s, and the log says\n%s", answer.Code, answer.Body, w.log.text.String())
	}
}

func TestAProviderThatIsDownIsLoggedOnceATry(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return now } })
	w.provider.set(func(p *idp) { p.broken = true })
	for range 20 {
		if answer := ask(t.Context(), w.open, http.MethodGet, signInPath); answer.Code != http.StatusServiceUnavailable {
			t.Fatalf("%d %s", answer.Code, answer.Body)
		}
	}
	if n := w.log.count("level=WARN"); n != 1 {
		t.Errorf("%d lines of the log", n)
	}
}

// Anybody can bring a code with an attempt of their own.
func TestCallbacksAskTheProviderAtABoundedRate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return now } })
	attempt, at := w.begin()
	codes := map[int]int{}
	for range 3*callbackRate + 5 {
		w.provider.set(func(p *idp) { p.nonce = "another" })
		codes[ask(t.Context(), w.open, http.MethodGet, callbackPath+"?code=c&state="+at.Query().Get("state"), "Cookie", attempt).Code]++
	}
	if codes[http.StatusBadGateway] != 3*callbackRate || codes[http.StatusServiceUnavailable] != 5 {
		t.Errorf("the answers are %v", codes)
	}
	w.provider.set(func(p *idp) {
		if n := p.asked["/token"]; n != 3*callbackRate {
			t.Errorf("the provider was asked for tokens %d times, want %d", n, 3*callbackRate)
		}
	})
}
