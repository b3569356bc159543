package signin

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/operator/internal/dashboard/session"
)

func TestWhoARequestComesFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cookie, robot := w.session("ada"), w.provider.token("robot")
	w.nats.Grant(robot, "service-robot", nil)
	for name, tt := range map[string]struct {
		header []string
		code   int
		says   string
	}{
		"a session": {[]string{"Cookie", cookie}, 200, "person-ada"},
		"a session behind a proxy with a password": {[]string{"Cookie", cookie, "Authorization", "Basic eDp5"}, 200, "person-ada"},
		"a token":                     {[]string{"Authorization", "Bearer " + robot}, 200, "service-robot"},
		"a token beside a session":    {[]string{"Cookie", cookie, "Authorization", "bearer " + robot}, 200, "service-robot"},
		"a password alone":            {[]string{"Authorization", "Basic eDp5"}, 401, "Nobody is signed in"},
		"a session that is made up":   {[]string{"Cookie", SessionCookie + "=" + session.NewSecret()}, 401, "Nobody is signed in"},
		"a token that is too long":    {[]string{"Authorization", "Bearer " + strings.Repeat("A", 100_000)}, 401, "bytes, and NATS takes"},
		"a token without a role":      {[]string{"Authorization", "Bearer " + w.provider.token("nobody")}, 401, "does not let you in"},
		"a token that is over":        {[]string{"Authorization", "Bearer " + w.provider.sign(map[string]any{"iss": w.provider.URL, "sub": "robot", "exp": 1})}, 401, "not a valid one"},
		"a token of another provider": {[]string{"Authorization", "Bearer " + newIDP(t).token("robot")}, 401, "not a valid one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := ask(t.Context(), w.closed, http.MethodGet, "/api/v1/overview", tt.header...)
			if answer.Code != tt.code || !strings.Contains(answer.Body.String(), tt.says) {
				t.Errorf("%d %s, want %d with %q", answer.Code, answer.Body, tt.code, tt.says)
			}
		})
	}
}

// Many requests come with credentials that are made up, and then a person whom this replica does not
// know yet.
func TestMadeUpCredentialsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		header func(*world) []string
		code   int
	}{
		"what is no cookie of ours": {func(*world) []string { return []string{"Cookie", SessionCookie + "=x"} }, 401},
		"cookies that are made up":  {func(*world) []string { return []string{"Cookie", SessionCookie + "=" + session.NewSecret()} }, 401},
		"what is no token":          {func(*world) []string { return []string{"Authorization", "Bearer x"} }, 401},
		"tokens that are forged": {func(w *world) []string {
			return []string{"Authorization", "Bearer " + forged(w.provider.token(session.NewSecret()))}
		}, 401},
		"tokens of keys that the provider has not": {func(w *world) []string {
			return []string{"Authorization", "Bearer " + w.provider.signAs(session.NewSecret(), w.provider.claims("robot"))}
		}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return began } }) // however long this takes
			cookie, robot := w.session("ada"), w.provider.token("robot")
			w.nats.Grant(robot, "service-robot", nil)
			for range 300 {
				if answer := ask(t.Context(), w.closed, http.MethodGet, "/api/v1/overview", tt.header(w)...); answer.Code != tt.code {
					t.Fatalf("the request is answered by %d %s", answer.Code, answer.Body)
				}
			}
			for _, header := range [][]string{{"Cookie", cookie}, {"Authorization", "Bearer " + robot}} {
				if answer := ask(t.Context(), w.closed, http.MethodGet, "/api/v1/overview", header...); answer.Code != http.StatusOK {
					t.Errorf("beside made-up credentials, a valid %s is answered by %d %s", header[0], answer.Code, answer.Body)
				}
			}
			w.provider.set(func(p *idp) {
				if n := p.asked["/keys"]; n > 1 {
					t.Errorf("the provider is asked for its keys %d times", n)
				}
			})
		})
	}
}

func TestWhileTheProvidersKeysCannotBeReadATokenIsShownToNATS(t *testing.T) {
	t.Parallel()
	began := time.Now()
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return began } })
	w.begin() // it is found
	w.provider.set(func(p *idp) { p.broken = true })
	for _, name := range []string{"robot", "drone"} { // the second one while the keys are not asked for again
		token := w.provider.token(name)
		w.nats.Grant(token, "service-"+name, nil)
		if answer := ask(t.Context(), w.closed, http.MethodGet, "/api/v1/overview", "Authorization", "Bearer "+token); answer.Code != http.StatusOK {
			t.Errorf("%s is answered by %d %s", name, answer.Code, answer.Body)
		}
	}
}

// forged is a token with another signature.
func forged(token string) string {
	i := strings.LastIndex(token, ".") + 10
	other := "A"
	if token[i] == 'A' {
		other = "B"
	}
	return token[:i] + other + token[i+1:]
}

func TestARequestThatEndsBeforeItsPersonIsLetInIsToldToComeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cookie := w.session("ada")
	ended, end := context.WithCancel(t.Context())
	end() // as the operator's end does
	answer := ask(ended, w.closed, http.MethodGet, "/", "Cookie", cookie)
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
	}
}

func TestWithoutNATSASessionIsToldAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cookie := w.session("ada")
	w.nats.Stop()
	for end := time.Now().Add(time.Minute); w.js.Conn().IsConnected() && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	began := time.Now()
	for range 10 {
		answer := ask(t.Context(), w.closed, http.MethodGet, "/", "Cookie", cookie)
		if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" || !strings.Contains(answer.Body.String(), "NATS does not answer") {
			t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
		}
	}
	if took := time.Since(began); took > 25*time.Second { // one that waits for NATS takes 5 s
		t.Errorf("ten answers took %s", took)
	}
}
