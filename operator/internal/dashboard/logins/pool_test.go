package logins_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/dashboard/logins"
	"fleet.nationtech.io/operator/internal/dashboard/logins/loginstest"
)

// token is of a form that the pool reads. The test's server takes one token, and cannot say who
// it is of: what the auth callout makes of tokens is tested on a whole fleet.
func token(subject string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"sub":%q}`, subject)) + ".e30"
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newPool(t *testing.T) (*logins.Pool, *prometheus.Registry, *clock) {
	t.Helper()
	server := natstest.Start(t, natstest.Config(t, `authorization { token: "another" }`))
	registry, c := prometheus.NewRegistry(), &clock{at: time.Now()}
	return logins.New(logins.Options{URL: server.URL(), Registry: registry, Logger: slog.New(slog.DiscardHandler), Now: c.now}), registry, c
}

func loginsOf(t *testing.T, r *prometheus.Registry, result string) int {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "fleet_dashboard_logins_total" && m.GetLabel()[0].GetValue() == result {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}

func TestARefusedTokenIsAskedForOnceInFiveSeconds(t *testing.T) {
	t.Parallel()
	p, registry, c := newPool(t)
	who := logins.Credential{Key: "k", Token: token("ann"), Expires: c.now().Add(time.Hour)}
	ask := func() {
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := p.Acquire(t.Context(), who); !errors.Is(err, logins.ErrRefused) {
					t.Errorf("a token that the server refuses: %v", err)
				}
			})
		}
		all.Wait()
	}
	ask()
	if n := loginsOf(t, registry, "refused"); n != 1 {
		t.Errorf("50 who came with one token made %d logins, want 1", n)
	}
	c.move(4 * time.Second)
	ask()
	c.move(time.Second)
	ask()
	if n := loginsOf(t, registry, "refused"); n != 2 {
		t.Errorf("after five seconds there are %d logins, want 2", n)
	}
	if n := testutil.CollectAndCount(registry, "fleet_dashboard_connections"); n != 1 || len(p.Keys()) != 0 || p.Has("k") {
		t.Errorf("there are connections: %q", p.Keys())
	}
}

func TestTokensThatNobodyKnowsAreLimited(t *testing.T) {
	t.Parallel()
	p, registry, c := newPool(t)
	for i := range 100 {
		_, err := p.Acquire(t.Context(), logins.Credential{Key: fmt.Sprint(i), Token: token("ann"), Expires: c.now().Add(time.Hour), Bearer: true})
		if !errors.Is(err, logins.ErrRefused) && !errors.Is(err, logins.ErrBusy) {
			t.Fatal(err)
		}
	}
	if refused, busy := loginsOf(t, registry, "refused"), loginsOf(t, registry, "busy"); refused != 20 || busy != 80 {
		t.Errorf("of 100 unknown tokens in one moment %d were asked for, and %d were not; want 20 and 80", refused, busy)
	}
}

// Who makes tokens up must not keep the others out.
func TestWhatIsNoTokenTakesNoLoginFromOthers(t *testing.T) {
	t.Parallel()
	p, registry, c := newPool(t)
	for i := range 100 {
		if _, err := p.Acquire(t.Context(), logins.Credential{Key: fmt.Sprint(i), Token: "garbage", Expires: c.now().Add(time.Hour), Bearer: true}); !errors.Is(err, logins.ErrUnusable) {
			t.Fatal(err)
		}
	}
	if _, err := p.Acquire(t.Context(), logins.Credential{Key: "k", Token: token("ann"), Expires: c.now().Add(time.Hour), Bearer: true}); !errors.Is(err, logins.ErrRefused) {
		t.Errorf("beside garbage a token is answered by %v", err)
	}
	if n := loginsOf(t, registry, "busy"); n != 0 {
		t.Errorf("%d were told to wait", n)
	}
}

// A server refuses alike where nobody has a role, and where the auth callout is being replaced.
func TestASessionsRefusedLoginIsTriedOnceMore(t *testing.T) {
	t.Parallel()
	server := loginstest.Start(t)
	p := logins.New(logins.Options{URL: server.URL(), Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	second := func(login int) bool { return login >= 2 }
	for name, tt := range map[string]struct {
		subject string
		bearer  bool
		want    error
		logins  int
	}{
		"a session that is refused once": {subject: "ann", logins: 2},
		"a token in a header":            {subject: "bob", bearer: true, want: logins.ErrRefused, logins: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server.Grant(token(tt.subject), "person-"+tt.subject, second)
			use, err := p.Acquire(t.Context(), logins.Credential{Key: name, Token: token(tt.subject), Expires: time.Now().Add(time.Hour), Bearer: tt.bearer})
			if !errors.Is(err, tt.want) || err == nil && use.Person.Actor != "person-"+tt.subject {
				t.Errorf("%+v, %v; want %v", use.Person, err, tt.want)
			}
			if n := server.Logins(token(tt.subject)); n != tt.logins {
				t.Errorf("there were %d logins, want %d", n, tt.logins)
			}
		})
	}
}

// The auth callout bounds how many logins and connections an identity has.
func TestATokenInAHeaderCostsFewLoginsAndShortConnections(t *testing.T) {
	t.Parallel()
	server, registry, c := loginstest.Start(t), prometheus.NewRegistry(), &clock{at: time.Now()}
	p := logins.New(logins.Options{URL: server.URL(), Registry: registry, Logger: slog.New(slog.DiscardHandler), Now: c.now})
	server.Grant(token("robot"), "service-robot", nil)
	acquire := func(key string, bearer bool) {
		t.Helper()
		use, err := p.Acquire(t.Context(), logins.Credential{Key: key, Token: token("robot"), Expires: c.now().Add(time.Hour), Bearer: bearer})
		if err != nil || use.Person.Actor != "service-robot" {
			t.Fatalf("%+v, %v", use.Person, err)
		}
		use.Release()
	}
	acquire("first", true)
	if n := server.Logins(token("robot")); n != 2 {
		t.Errorf("as a person and as a service there were %d logins, want 2", n)
	}
	acquire("second", true)
	if n := server.Logins(token("robot")); n != 3 {
		t.Errorf("a service that is known came with %d logins in all, want 3", n)
	}
	acquire("session", false)
	c.move(time.Minute)
	p.Sweep()
	if !p.Has("session") || p.Has("first") || p.Has("second") {
		t.Errorf("after an idle minute there are %q, want the session's", p.Keys())
	}
}

// A sign-in that is under way has a connection, and its session is not stored yet.
func TestASessionThatIsNotStoredYetIsNotLookedFor(t *testing.T) {
	t.Parallel()
	server := loginstest.Start(t)
	p := logins.New(logins.Options{URL: server.URL(), Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	server.Grant(token("ann"), "person-ann", nil)
	if _, err := p.Acquire(t.Context(), logins.Credential{Key: "k", Token: token("ann"), Expires: time.Now().Add(time.Hour), Unstored: true}); err != nil {
		t.Fatal(err)
	}
	if all := p.Keys(); len(all) != 0 {
		t.Errorf("%q would be looked for", all)
	}
	if p.Stored("k"); !slices.Equal(p.Keys(), []string{"k"}) {
		t.Errorf("once it is stored %q would be looked for", p.Keys())
	}
}

func TestWhatIsNoTokenIsAskedForNowhere(t *testing.T) {
	t.Parallel()
	p, _, c := newPool(t)
	for name, text := range map[string]string{
		"none": "", "too long": token(strings.Repeat("a", eventlog.MaxTokenBytes)), "opaque": "abc", "of nobody": token(""),
		"of a subject with a wildcard": token(">"), "of a subject with a dot": token("a.b"), "of a long subject": token(strings.Repeat("a", 64)),
	} {
		if _, err := p.Acquire(t.Context(), logins.Credential{Key: name, Token: text, Expires: c.now().Add(time.Hour)}); !errors.Is(err, logins.ErrUnusable) {
			t.Errorf("a token that is %s: %v", name, err)
		}
	}
	if _, err := p.Acquire(t.Context(), logins.Credential{Key: "k", Token: token("ann"), Expires: c.now()}); !errors.Is(err, logins.ErrEnded) {
		t.Errorf("a token that has ended: %v", err)
	}
}

func TestServersThatDoNotAnswerAreNoRefusal(t *testing.T) {
	t.Parallel()
	p := logins.New(logins.Options{URL: "nats://127.0.0.1:1", NATS: []nats.Option{nats.Timeout(time.Second)}, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	_, err := p.Acquire(t.Context(), logins.Credential{Key: "k", Token: token("ann"), Expires: time.Now().Add(time.Hour)})
	if err == nil || errors.Is(err, logins.ErrRefused) {
		t.Errorf("servers that do not answer: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ended); err != nil {
		t.Error(err)
	}
	if _, err := p.Acquire(t.Context(), logins.Credential{Key: "k", Token: token("ann"), Expires: time.Now().Add(time.Hour)}); !errors.Is(err, logins.ErrBusy) {
		t.Errorf("at the end of the pool: %v", err)
	}
}

// A NATS client prefers a user in the URL, or in an option, to the person's token.
func TestALoginThatIsNotThePersonsOwnLetsNobodyIn(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Config(t, `
accounts { FLEET { users: [ { user: operator, password: secret } ] }, SYS { users: [ { user: sys, password: secret } ] } }
system_account: SYS`))
	for name, tt := range map[string]struct {
		url     string
		options []nats.Option
	}{
		"a user in the URL":   {url: strings.Replace(server.URL(), "://", "://operator:secret@", 1)},
		"a user in an option": {server.URL(), []nats.Option{nats.UserInfo("operator", "secret")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := logins.New(logins.Options{URL: tt.url, NATS: tt.options, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Now: time.Now})
			use, err := p.Acquire(t.Context(), logins.Credential{Key: "k", Token: token("ann"), Expires: time.Now().Add(time.Hour)})
			if !errors.Is(err, logins.ErrRefused) {
				t.Errorf("%+v is let in: %v", use.Person, err)
			}
			if err := logins.CheckServers(tt.url, tt.options); err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("the check says %v", err)
			}
		})
	}
}

func TestServersAreCheckedForALoginOfTheirOwn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		url     string
		options []nats.Option
		want    string // a part of the error; empty: none
	}{
		"servers without a login":              {"nats://a:4222, tls://b:4222,c", []nats.Option{nats.Name("x"), nats.Timeout(time.Second)}, ""},
		"a user and a password":                {"nats://me:pw@a", nil, "has a user"},
		"a user in the last one":               {"nats://a,nats://me@b", nil, "URL of b has a user"},
		"a user without a scheme":              {"nats://a, me:pw@b", nil, "has a user"},
		"a token in the URL":                   {"nats://pw@a", nil, "has a user"},
		"a URL that cannot be read":            {"nats://me:pw%@a", nil, "cannot be read"},
		"a user by an option":                  {"nats://a", []nats.Option{nats.UserInfo("me", "pw")}, "have a login"},
		"a token by an option":                 {"nats://a", []nats.Option{nats.Token("pw")}, "have a login"},
		"a token by a function":                {"nats://a", []nats.Option{nats.TokenHandler(func() string { return "pw" })}, "have a login"},
		"credentials":                          {"nats://a", []nats.Option{nats.UserJWTAndSeed("pw", "pw")}, "have a login"},
		"an nkey":                              {"nats://a", []nats.Option{nats.Nkey("N", func([]byte) ([]byte, error) { return nil, nil })}, "have a login"},
		"an option that cannot be carried out": {"nats://a", []nats.Option{func(*nats.Options) error { return errors.New("no such file") }}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := logins.CheckServers(tt.url, tt.options)
			if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "pw")) {
				t.Errorf("%v, want something with %q", err, tt.want)
			}
		})
	}
}

func TestALoginThatPanicsLetsNobodyIn(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Config(t, `authorization { token: "another" }`))
	var once sync.Once
	broken := func(*nats.Options) error {
		once.Do(func() { panic("a fault") })
		return nil
	}
	p := logins.New(logins.Options{URL: server.URL(), NATS: []nats.Option{broken}, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	who := logins.Credential{Key: "k", Token: token("ann"), Expires: time.Now().Add(time.Hour)}
	func() {
		defer func() { _ = recover() }() // as the HTTP server does
		_, _ = p.Acquire(t.Context(), who)
	}()
	if use, err := p.Acquire(t.Context(), who); err == nil {
		t.Errorf("after a login that panicked %+v is let in", use.Person)
	}
}
