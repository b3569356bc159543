package login

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
)

const (
	organization = "4000"
	project      = "3012"
)

// world is a provider that knows one person.
type world struct {
	*devprovider.Provider
	t    *testing.T
	app  string
	dir  string // of the cached tokens
	skew atomic.Int64
}

// providerAt is a provider that nobody has asked yet.
func providerAt(t *testing.T, issuer string) *openid.Provider {
	t.Helper()
	clock := &trust.Clock{}
	servers, err := trust.New(clock, "")
	if err != nil {
		t.Fatal(err)
	}
	return openid.New(openid.Options{Issuer: issuer, Clock: clock, Servers: servers})
}

func start(t *testing.T, o devprovider.Options) (w *world, person string) {
	t.Helper()
	if o.PollInterval == 0 {
		o.PollInterval = time.Second
	}
	p := devprovidertest.Start(t, o)
	w = &world{Provider: p, t: t, dir: t.TempDir()}
	p.AddOrganization(devprovider.Organization{ID: organization})
	p.AddProject(project)
	var err error
	w.app, err = p.AddApplication(devprovider.Application{Project: project, Native: true})
	w.must(err)
	person, err = p.AddUser(devprovider.User{Organization: organization, Username: "ada", Name: "Ada"})
	w.must(err)
	w.must(p.GrantRole(person, devprovider.Role{Project: project, Key: "viewer", Organization: organization}))
	return w, person
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// now is the clock of sessions, which a test moves.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }

func (w *world) session() *Session {
	w.t.Helper()
	s, err := New(Options{Account: Account{Issuer: w.Issuer(), Project: project, ClientID: w.app}, Dir: w.dir, Now: w.now})
	w.must(err)
	return s
}

// login logs a person in.
func (w *world) login(person string) Tokens {
	w.t.Helper()
	s := w.session()
	p, err := s.Begin(w.t.Context())
	w.must(err)
	w.must(w.Approve(p.UserCode, person))
	t, err := s.Complete(w.t.Context(), p)
	w.must(err)
	return t
}

func TestManyAtOnceUseARefreshTokenOnce(t *testing.T) {
	t.Parallel()
	w, person := start(t, devprovider.Options{})
	if err := w.session().Ready(t.Context()); !errors.Is(err, ErrLoggedOut) {
		t.Errorf("before the login: %v", err)
	}
	first := w.login(person)
	if first.Name != "Ada" {
		t.Errorf("name %q", first.Name)
	}
	w.skew.Store(int64(11*time.Hour + 58*time.Minute))
	var all sync.WaitGroup
	tokens := make(chan string, 10)
	for range cap(tokens) {
		s := w.session()
		all.Go(func() {
			if err := s.Ready(t.Context()); err != nil {
				t.Error(err)
			}
			tokens <- s.Show()
		})
	}
	all.Wait()
	close(tokens)
	second := <-tokens
	if second == first.Access {
		t.Error("the token is not renewed")
	}
	for other := range tokens {
		if other != second {
			t.Error("one token was to be asked for, and there are two")
		}
	}
	if n := w.RefreshTokens(person); n != 1 {
		t.Errorf("%d refresh tokens hold", n)
	}
}

func TestTheCachedTokenIsGoodWhileTheProviderIsAway(t *testing.T) {
	t.Parallel()
	w, person := start(t, devprovider.Options{})
	first := w.login(person)
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	s := w.session()
	s.provider = providerAt(t, away.URL)
	w.skew.Store(int64(11*time.Hour + 58*time.Minute)) // it is time to renew
	if err := s.Ready(t.Context()); err != nil || s.Show() != first.Access {
		t.Errorf("the token that still holds is not shown: %v", err)
	}
	w.skew.Store(int64(12 * time.Hour))
	if err := s.Ready(t.Context()); err == nil {
		t.Error("a token that ended is shown")
	}
}

func TestKeepRenewsBeforeTheEndAndSeesWhatAnotherCommandDid(t *testing.T) {
	t.Parallel()
	w, person := start(t, devprovider.Options{TokenLifetime: 3 * time.Second})
	first := w.login(person)
	s := w.session()
	w.must(s.Ready(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	var told atomic.Int32
	var keeping sync.WaitGroup
	keeping.Go(func() { s.Keep(ctx, func(error) { told.Add(1) }) })
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) { // poll
			if time.Now().After(deadline) {
				t.Fatalf("not within 30 s: %s", what)
			}
		}
	}
	until("the next token", func() bool { return s.Show() != first.Access })
	w.EndLogins(person)
	until("the reason why there is none", func() bool { return told.Load() == 1 })
	ended := s.Show()
	w.login(person)
	until("the token of another login", func() bool { return s.Show() != ended })
	cancel()
	keeping.Wait()
}

func TestAFileThatIsNoTokenIsAsIfNobodyWereLoggedIn(t *testing.T) {
	t.Parallel()
	w, person := start(t, devprovider.Options{})
	w.login(person)
	files, err := filepath.Glob(filepath.Join(w.dir, "*.json"))
	w.must(err)
	w.must(os.WriteFile(files[0], []byte("{"), 0o600))
	if err := w.session().Ready(t.Context()); !errors.Is(err, ErrLoggedOut) || !strings.Contains(err.Error(), files[0]) {
		t.Errorf("error %v", err)
	}
}

// A person who presses Tab, or Ctrl-C, does not lose the login: a renewal that has begun
// is brought to its end, and a caller in haste begins none.
func TestACallerWhoGoesAwayBurnsNoRefreshToken(t *testing.T) {
	t.Parallel()
	w, person := start(t, devprovider.Options{})
	first := w.login(person)
	w.skew.Store(int64(11*time.Hour + 58*time.Minute)) // it is time to renew

	hasty, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	s := w.session()
	if err := s.Ready(hasty); err != nil || s.Show() != first.Access {
		t.Errorf("a caller in haste does not get the token that still holds: %v", err)
	}

	leaving, leave := context.WithCancel(t.Context())
	w.SetFault(&devprovider.Fault{Path: "/oauth/v2/token", Delay: 300 * time.Millisecond, Began: leave}) // while the provider works
	if err := s.Ready(leaving); err != nil || s.Show() == first.Access {
		t.Errorf("the renewal was broken off: %v", err)
	}
	w.SetFault(nil)
	next := w.session()
	if err := next.Ready(t.Context()); err != nil || next.Show() != s.Show() {
		t.Errorf("the next command does not have the renewed token: %v", err)
	}
}
