package dev

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
)

// People sign in to the dashboard of a fleet with a provider, the auth callout and NATS servers
// with the fleet's accounts; and who should not get in does not.
func TestPeopleSignInToTheDashboard(t *testing.T) {
	t.Parallel()
	withDoor(t, func(ctx context.Context, d door) {
		for name, test := range map[string]func(context.Context, *testing.T, door){
			"a browser is sent to the provider and back":                     signsIn,
			"nothing is shown to nobody":                                     showsNothing,
			"an answer of the provider is good for one attempt of a browser": answersOnce,
			"a sign-in makes another session":                                fixesNothing,
			"a browser is led nowhere else":                                  staysHere,
			"what the provider says is shown as text":                        showsText,
			"a page of one person is not another's":                          sharesNothing,
			"who has no role is told":                                        tellsWhoIsNotLetIn,
			"scripts come with a token":                                      takesBearers,
			"a service comes with a token, and a device does not":            takesServices,
			"a sign-out ends the session everywhere":                         signsOut,
			"a revoked person is out":                                        revokes,
		} {
			t.Run(name, func(t *testing.T) {
				d := d
				d.t = t
				test(ctx, t, d)
			})
		}
		tellsNoSecret(t, d)
	})
}

func signsIn(_ context.Context, t *testing.T, d door) {
	b := d.browser()
	p := b.get(d.url + "/devices?state=offline")
	if to := p.Header.Get("Location"); p.StatusCode != http.StatusFound || to != "/auth/sign-in?to=%2Fdevices%3Fstate%3Doffline" {
		t.Fatalf("%s to %s", p.Status, to)
	}
	p = b.get(p.at(p.Header.Get("Location")))
	if p.StatusCode != http.StatusOK || p.Header.Get("Location") != "" || !strings.Contains(p.body, "Go to the identity provider") {
		t.Errorf("the way to the provider is a redirect, which a browser refuses after a form: %s\n%s", p.Status, p.body)
	}
	at, err := url.Parse(p.next())
	if err != nil {
		t.Fatal(err)
	}
	q := at.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "" || q.Get("nonce") == "" ||
		q.Get("redirect_uri") != d.url+"/auth/callback" || q.Get("response_type") != "code" || strings.Contains(q.Get("scope"), "offline_access") {
		t.Errorf("the provider is asked by %s", at)
	}
	careful(t, p)
	cookieIs(t, p, attemptCookie, 10*time.Minute)
	back := b.choose(b.follow(b.get(at.String())), "viewer")
	p = b.get(back.Header.Get("Location"))
	if p.StatusCode != http.StatusSeeOther || p.Header.Get("Location") != "/devices?state=offline" {
		t.Fatalf("%s to %s\n%s", p.Status, p.Header.Get("Location"), p.body)
	}
	careful(t, p)
	cookieIs(t, p, sessionCookie, 8*time.Hour)
	p = b.follow(p)
	if p.StatusCode != http.StatusOK || !strings.Contains(p.body, "the local viewer") || !strings.Contains(p.body, "Sign out") || p.Request.URL.RequestURI() != "/devices?state=offline" {
		t.Errorf("%s at %s\n%s", p.Status, p.Request.URL, p.body)
	}
	careful(t, p)
}

// careful fails where an answer does not tell the browser to be careful.
func careful(t *testing.T, p page) {
	t.Helper()
	for header, want := range map[string]string{
		"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "no-referrer", "Cache-Control": "private", "Vary": "Cookie, Authorization",
	} {
		if got := p.Header.Get(header); !strings.Contains(got, want) {
			t.Errorf("%s: %s is %q, want something with %q", p.Request.URL.Path, header, got, want)
		}
	}
}

// cookieIs fails where an answer does not set a cookie that scripts and other sites do not get.
func cookieIs(t *testing.T, p page, name string, life time.Duration) {
	t.Helper()
	for _, c := range p.Cookies() {
		if c.Name != name || c.MaxAge < 0 {
			continue
		}
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 || time.Duration(c.MaxAge)*time.Second > life {
			t.Errorf("the cookie %s is %+v", name, c)
		}
		return
	}
	t.Errorf("there is no cookie %s: %v", name, p.Header["Set-Cookie"])
}

func showsNothing(_ context.Context, t *testing.T, d door) {
	b := d.browser()
	for path, want := range map[string]int{
		"/": 302, "/devices": 302, "/nothing": 302, "/deployments/a/b": 302, "/auth/nothing": 404, "/auth/signed-out": 200,
		"/api/v1/overview": 401, "/api/v1/events": 401, "/api/v1/openapi.json": 401, "/api/v1/nothing": 401, "/assets/dashboard.css": 200,
	} {
		p := b.get(d.url + path)
		if p.StatusCode != want || strings.Contains(p.body, "edge-01") {
			t.Errorf("%s answers %s, want %d\n%s", path, p.Status, want, p.body)
		}
		if want == http.StatusUnauthorized && (!json.Valid([]byte(p.body)) || p.Header.Get("WWW-Authenticate") == "") {
			t.Errorf("%s answers %q without JSON or a challenge", path, p.body)
		}
	}
	if p := b.get(d.url+"/devices", "Sec-Fetch-Mode", "cors"); p.StatusCode != http.StatusUnauthorized {
		t.Errorf("a script's question is answered by %s", p.Status)
	}
	if p := b.do(http.MethodPost, d.url+"/devices", url.Values{}); p.StatusCode != http.StatusUnauthorized {
		t.Errorf("a form is answered by %s", p.Status)
	}
	for _, path := range []string{"/", "/auth/sign-in", "/assets/dashboard.css", "/api/v1/overview"} {
		for _, host := range []string{"evil.example", "localhost", "localhost:80"} {
			if p := b.get(d.url+path, "Host", host); p.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("%s as %s answers %s", path, host, p.Status)
			}
		}
	}
	for name, header := range map[string][]string{
		"a made-up session":   {"Cookie", sessionCookie + "=" + base64.RawURLEncoding.EncodeToString(make([]byte, 32))},
		"a huge session":      {"Cookie", sessionCookie + "=" + strings.Repeat("A", 20_000)},
		"two sessions":        {"Cookie", sessionCookie + "=a; " + sessionCookie + "=b"},
		"another scheme":      {"Authorization", "Basic dmlld2VyOnZpZXdlcg=="},
		"a name, and no more": {"Authorization", "Bearer"},
		"a huge token":        {"Authorization", "Bearer " + strings.Repeat("A", 20_000)},
		"a token of nobody":   {"Authorization", "Bearer e30.e30.e30"},
	} {
		if p := b.get(d.url+"/api/v1/overview", header...); p.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s is answered by %s: %s", name, p.Status, p.body)
		}
	}
	if p := b.get(d.url + "/auth/callback?code=x&state=" + strings.Repeat("A", 20_000)); p.StatusCode != http.StatusBadRequest {
		t.Errorf("a huge state is answered by %s", p.Status)
	}
}

// answered goes to the provider and back, and gives the address with the code, unopened.
func (d door) answered(b *browser, user string) string {
	d.t.Helper()
	return b.choose(b.follow(b.get(d.url+"/devices")), user).Header.Get("Location")
}

func answersOnce(_ context.Context, t *testing.T, d door) {
	// forged changes the attempt that a browser keeps.
	forged := func(b *browser, field, value string) {
		text, err := base64.RawURLEncoding.DecodeString(b.cookies[d.host][attemptCookie])
		var a map[string]any
		if err == nil {
			err = json.Unmarshal(text, &a)
		}
		if err != nil {
			t.Fatal(err)
		}
		a[field] = value
		text, err = json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		b.keep(d.host, attemptCookie, base64.RawURLEncoding.EncodeToString(text))
	}
	changed := func(address, parameter, value string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set(parameter, value)
		u.RawQuery = q.Encode()
		return u.String()
	}
	for name, tt := range map[string]struct {
		open func(b *browser, address string) page
		code int
		says string
	}{
		"another browser": {func(_ *browser, address string) page { return d.browser().get(address) }, 400, "belongs to no sign-in"},
		"another state":   {func(b *browser, address string) page { return b.get(changed(address, "state", "x")) }, 400, "belongs to no sign-in"},
		"no state":        {func(b *browser, address string) page { return b.get(changed(address, "state", "")) }, 400, "belongs to no sign-in"},
		"another nonce": {func(b *browser, address string) page {
			forged(b, "n", "x")
			return b.get(address)
		}, 502, "nonce differs"},
		"another verifier": {func(b *browser, address string) page {
			forged(b, "v", strings.Repeat("x", 43))
			return b.get(address)
		}, 502, "refuses it"},
		"another code":     {func(b *browser, address string) page { return b.get(changed(address, "code", "x")) }, 502, "refuses it"},
		"no code":          {func(b *browser, address string) page { return b.get(changed(address, "code", "")) }, 403, "has no code"},
		"another provider": {func(b *browser, address string) page { return b.get(changed(address, "iss", "https://evil.example")) }, 403, "another identity provider"},
		"the answer again": {func(b *browser, address string) page {
			b.get(address)
			delete(b.cookies[d.host], sessionCookie)
			return b.get(address)
		}, 400, "belongs to no sign-in"},
		"the answer again, with the attempt": {func(b *browser, address string) page {
			attempt := b.cookies[d.host][attemptCookie]
			b.get(address)
			delete(b.cookies[d.host], sessionCookie)
			b.keep(d.host, attemptCookie, attempt)
			return b.get(address)
		}, 502, "refuses it"},
	} {
		t.Run(name, func(t *testing.T) {
			b := d.browser()
			p := tt.open(b, d.answered(b, "viewer"))
			if p.StatusCode != tt.code || !strings.Contains(p.body, tt.says) {
				t.Errorf("%s, want %d with %q\n%s", p.Status, tt.code, tt.says, p.body)
			}
			if b.cookies[d.host][sessionCookie] != "" || strings.Contains(p.Header.Get("Set-Cookie"), sessionCookie) {
				t.Error("there is a session")
			}
			careful(t, p)
		})
	}
}

func fixesNothing(_ context.Context, t *testing.T, d door) {
	attacker, b := d.browser(), d.browser()
	attacker.signIn(d.url+"/", "viewer")
	planted := attacker.cookies[d.host][sessionCookie]
	address := d.answered(b, "operator")
	b.keep(d.host, sessionCookie, planted)
	b.follow(b.get(address))
	mine := b.cookies[d.host][sessionCookie]
	if mine == planted || mine == "" {
		t.Fatalf("the session after the sign-in is the one that was there before")
	}
	if p := attacker.get(d.url + "/api/v1/overview"); p.StatusCode != http.StatusUnauthorized {
		t.Errorf("the session that was there before the sign-in answers %s", p.Status)
	}
	b.signIn(d.url+"/auth/sign-in", "operator")
	if next := b.cookies[d.host][sessionCookie]; next == mine {
		t.Error("another sign-in gives the same session")
	}
}

func staysHere(_ context.Context, t *testing.T, d door) {
	for _, to := range []string{"//evil.example", "/\\evil.example", "https://evil.example/", "/%2f/evil.example", "javascript:alert(1)", "/auth/sign-in"} {
		b := d.browser()
		p := b.get(b.choose(b.follow(b.get(d.url+"/auth/sign-in?to="+url.QueryEscape(to))), "viewer").Header.Get("Location"))
		if at := p.Header.Get("Location"); at != "/" {
			t.Errorf("after a sign-in for %q the browser is sent to %q", to, at)
		}
	}
}

func showsText(_ context.Context, t *testing.T, d door) {
	b := d.browser()
	state := mustQuery(t, b.get(d.url+"/auth/sign-in").next()).Get("state")
	said := "<script>alert(1)</script>\r\n" + strings.Repeat("x", 10_000)
	p := b.get(d.url + "/auth/callback?" + url.Values{"state": {state}, "error": {"access_denied"}, "error_description": {said}}.Encode())
	if p.StatusCode != http.StatusForbidden || !strings.Contains(p.body, "access_denied") || strings.Contains(p.body, "<script>") || len(p.body) > 4096 {
		t.Errorf("%s, %d bytes\n%.1000s", p.Status, len(p.body), p.body)
	}
}

func mustQuery(t *testing.T, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func sharesNothing(_ context.Context, t *testing.T, d door) {
	viewer, admin := d.browser(), d.browser()
	viewer.signIn(d.url+"/", "viewer")
	admin.signIn(d.url+"/", "admin")
	for _, path := range []string{"/devices?at=3", "/devices", "/api/v1/devices?at=3"} {
		mine := viewer.get(d.url + path)
		tag := mine.Header.Get("ETag")
		theirs := admin.get(d.url+path, "If-None-Match", tag)
		if theirs.StatusCode != http.StatusOK || theirs.Header.Get("ETag") == tag {
			t.Errorf("%s: to the tag of another person the answer is %s with the tag %s", path, theirs.Status, theirs.Header.Get("ETag"))
		}
		if strings.Contains(theirs.body, "the local viewer") || strings.HasPrefix(path, "/d") && !strings.Contains(theirs.body, "the local admin") {
			t.Errorf("%s shows another person\n%s", path, theirs.body)
		}
		careful(t, mine)
	}
	careful(t, viewer.get(d.url+"/api/v1/events"))
	first := viewer.get(d.url + "/api/v1/devices?at=3")
	if again := viewer.get(d.url+"/api/v1/devices?at=3", "If-None-Match", first.Header.Get("ETag")); again.StatusCode != http.StatusNotModified || again.body != "" {
		t.Errorf("the same person is answered by %s", again.Status)
	}
}

func tellsWhoIsNotLetIn(_ context.Context, t *testing.T, d door) {
	b := d.browser()
	p := b.get(d.answered(b, d.person("nobody")))
	if p.StatusCode != http.StatusForbidden || !strings.Contains(p.body, "You signed in as the person nobody") || !strings.Contains(p.body, "viewer, operator or admin") {
		t.Errorf("%s\n%s", p.Status, p.body)
	}
	if b.cookies[d.host][sessionCookie] != "" {
		t.Error("there is a session")
	}
	if p := d.browser().get(d.url+"/api/v1/overview", "Authorization", "Bearer "+d.token("nobody")); p.StatusCode != http.StatusUnauthorized || !json.Valid([]byte(p.body)) {
		t.Errorf("a script of somebody without a role is answered by %s: %s", p.Status, p.body)
	}
}

func takesBearers(_ context.Context, t *testing.T, d door) {
	b := d.browser()
	token := d.token("viewer")
	bearer := []string{"Authorization", "Bearer " + token}
	p := b.get(d.url+"/api/v1/devices", bearer...)
	if p.StatusCode != http.StatusOK || !strings.Contains(p.body, "edge-01") || len(p.Cookies()) > 0 {
		t.Errorf("%s %s", p.Status, p.body)
	}
	if p := b.get(d.url+"/devices", bearer...); p.StatusCode != http.StatusOK || !strings.Contains(p.body, "person-viewer") {
		t.Errorf("%s %s", p.Status, p.body)
	}
	forged := token[:len(token)-4] + "AAAA"
	began := time.Now()
	for range 50 {
		if p := b.get(d.url+"/api/v1/devices", "Authorization", "Bearer "+forged); p.StatusCode != http.StatusUnauthorized || !json.Valid([]byte(p.body)) {
			t.Fatalf("a forged token is answered by %s: %s", p.Status, p.body)
		}
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("50 forged tokens took %s", took)
	}
	if p := b.get(d.url+"/api/v1/devices", bearer...); p.StatusCode != http.StatusOK {
		t.Errorf("beside forged tokens a good one is answered by %s", p.Status)
	}
}

func takesServices(ctx context.Context, t *testing.T, d door) {
	b := d.browser()
	p := b.get(d.url+"/api/v1/devices", "Authorization", "Bearer "+d.machineToken(ctx, d.service("grafana", "service-viewer")))
	if p.StatusCode != http.StatusOK || !strings.Contains(p.body, "edge-01") {
		t.Errorf("a service is answered by %s: %s", p.Status, p.body)
	}
	device := d.machineToken(ctx, d.configs["edge-01"].Auth.KeyFile)
	if p := b.get(d.url+"/api/v1/devices", "Authorization", "Bearer "+device); p.StatusCode != http.StatusUnauthorized || strings.Contains(p.body, "edge-01") {
		t.Errorf("a device is answered by %s: %s", p.Status, p.body)
	}
}

func signsOut(ctx context.Context, t *testing.T, d door) {
	second := d.replica(ctx)
	b := d.browser()
	b.signIn(d.url+"/", "operator")
	d.becomes(ctx, http.StatusOK, func() page { return b.get(second+"/api/v1/overview", "Host", d.host) })
	if p := b.get(second+"/devices", "Host", d.host); !strings.Contains(p.body, "the local operator") {
		t.Errorf("the other replica shows\n%s", p.body)
	}
	here, there := b.follows(ctx, d.url), b.follows(ctx, second, "Host", d.host)
	for name, header := range map[string][]string{
		"a page of another site": {"Sec-Fetch-Site", "cross-site"}, "a page of a neighbour": {"Sec-Fetch-Site", "same-site"},
		"an old browser on another site": {"Origin", "https://evil.example"}, "a page without an origin": {"Origin", "null"},
	} {
		if p := b.do(http.MethodPost, d.url+"/auth/sign-out", url.Values{}, header...); p.StatusCode != http.StatusForbidden {
			t.Errorf("%s signs a person out: %s", name, p.Status)
		}
	}
	if p := b.get(d.url + "/auth/sign-out"); p.StatusCode == http.StatusSeeOther {
		t.Error("a link signs a person out")
	}
	secret := b.cookies[d.host][sessionCookie]
	p := b.do(http.MethodPost, d.url+"/auth/sign-out", url.Values{}, "Sec-Fetch-Site", "same-origin", "Origin", d.url)
	if p.StatusCode != http.StatusSeeOther || b.cookies[d.host][sessionCookie] != "" || p.Header.Get("Clear-Site-Data") != `"cache"` {
		t.Fatalf("%s, cookies %v", p.Status, b.cookies[d.host])
	}
	if p = b.follow(p); p.StatusCode != http.StatusOK || strings.Contains(p.body, "the local operator") {
		t.Errorf("%s\n%s", p.Status, p.body)
	}
	b.keep(d.host, sessionCookie, secret)
	for _, replica := range []string{d.url, second} {
		if p := b.get(replica+"/api/v1/overview", "Host", d.host); p.StatusCode != http.StatusUnauthorized {
			t.Errorf("after the sign-out %s answers the old cookie by %s", replica, p.Status)
		}
	}
	d.within(time.Minute, "the event stream of the replica that took the sign-out ends", here)
	d.within(time.Minute, "the event stream of the other replica ends", there)
}

func revokes(ctx context.Context, t *testing.T, d door) {
	mallory := d.person("mallory", "operator")
	b := d.browser()
	b.signIn(d.url+"/", mallory)
	bearer := []string{"Authorization", "Bearer " + d.token(mallory)}
	if p := b.get(d.url+"/api/v1/overview", bearer...); p.StatusCode != http.StatusOK {
		t.Fatal(p.Status)
	}
	stream, script := b.follows(ctx, d.url), d.browser().follows(ctx, d.url, bearer...)
	d.access(ctx, "person-mallory", eventlog.AccessRevoked)
	d.within(time.Minute, "the event stream of a revoked person ends", stream)
	d.within(time.Minute, "the event stream of a revoked person's script ends", script)
	p := b.get(d.url + "/devices")
	if p.StatusCode != http.StatusForbidden || strings.Contains(p.body, "edge-01") || !strings.Contains(p.body, "it may be revoked") {
		t.Errorf("a revoked person is answered by %s\n%s", p.Status, p.body)
	}
	if p := b.get(d.url+"/api/v1/devices", bearer...); p.StatusCode != http.StatusUnauthorized {
		t.Errorf("a revoked person's script is answered by %s", p.Status)
	}
	d.access(ctx, "person-mallory", eventlog.AccessAllowed)
	d.becomes(ctx, http.StatusOK, func() page { return b.get(d.url + "/devices") })
}

// tellsNoSecret looks for what must not be there in the fleet's own log. Tokens are JWTs.
func tellsNoSecret(t *testing.T, d door) {
	b := d.browser()
	address := d.answered(b, "viewer")
	attempt := b.cookies[d.host][attemptCookie]
	b.follow(b.get(address))
	secret, code := b.cookies[d.host][sessionCookie], mustQuery(t, address).Get("code")
	if secret == "" || code == "" {
		t.Fatal("nobody signed in")
	}
	text, err := os.ReadFile(filepath.Join(d.dir, "fleet.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "a person signed in to the dashboard") {
		t.Error("the log does not say that somebody signed in")
	}
	for what, never := range map[string]string{"a session's cookie": secret, "a code": code, "an attempt": attempt, "a token": "eyJ"} {
		if strings.Contains(string(text), never) {
			t.Errorf("the log has %s", what)
		}
	}
	for _, at := range b.visited {
		if strings.Contains(at, secret) || strings.Contains(at, attempt) || strings.Contains(at, "token") {
			t.Errorf("an address has a secret: %s", at)
		}
	}
	if last := b.visited[len(b.visited)-1]; strings.Contains(last, "code=") {
		t.Errorf("the browser stays at the address with the code: %s", last)
	}
}

// A session ends with its token: pages send to the sign-in, and event streams end.
func TestASessionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	const life = 20 * time.Second
	withDoor(t, func(ctx context.Context, d door) {
		b := d.browser()
		b.signIn(d.url+"/", "viewer")
		secret := b.cookies[d.host][sessionCookie]
		ended := b.follows(ctx, d.url)
		d.within(life+time.Minute, "the event stream of a session whose token ends", ended)
		for path, want := range map[string]int{"/devices": http.StatusFound, "/api/v1/devices": http.StatusUnauthorized} {
			b.keep(d.host, sessionCookie, secret)
			d.becomes(ctx, want, func() page { return b.get(d.url + path) })
		}
	}, func(o *Options) { o.TokenLifetime = life })
}
