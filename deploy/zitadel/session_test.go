package zitadel_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/deviceflow"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/zitadel"
)

// tokenWithout gives a token that lacks the audience of the API.
func (w *world) tokenWithout(id string) string {
	w.t.Helper()
	key, err := openid.ReadKey(w.keyFile(id))
	w.must(err)
	clock := &trust.Clock{}
	servers, err := trust.New(clock, "")
	w.must(err)
	g, err := openid.New(openid.Options{Issuer: w.Issuer(), Clock: clock, Servers: servers}).ByKey(w.t.Context(), key, []string{"openid"})
	w.must(err)
	return g.Token
}

func TestAPersonSignsInOnceAndManagesDevices(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{PollInterval: time.Second})
	w.AddProject("fleet")
	app, err := w.AddApplication(devprovider.Application{Project: "fleet", Native: true})
	w.must(err)
	ada, err := w.AddUser(devprovider.User{Username: "ada", Organization: people})
	w.must(err)
	w.AddAdministrator(ada, devices, zitadel.UserManager)
	s, err := zitadel.SignIn(t.Context(), zitadel.SignInOptions{
		Issuer: w.Issuer(), ClientID: app,
		Prompt: func(p deviceflow.Prompt) { w.must(w.Approve(p.UserCode, ada)) },
		Sleep:  func(context.Context, time.Duration) error { return nil },
	})
	w.must(err)
	if created, err := w.clientBy(s).EnsureDevice(t.Context(), zitadel.Device{ID: "pi-01"}); err != nil || !created {
		t.Errorf("created %t, %v", created, err)
	}
	if n := w.RefreshTokens(ada); n != 0 {
		t.Errorf("%d refresh tokens", n)
	}
}

func TestAPersonWhoDeniesIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	w.AddProject("fleet")
	app, err := w.AddApplication(devprovider.Application{Project: "fleet", Native: true})
	w.must(err)
	_, err = zitadel.SignIn(t.Context(), zitadel.SignInOptions{
		Issuer: w.Issuer(), ClientID: app, Prompt: func(p deviceflow.Prompt) { w.must(w.Deny(p.UserCode)) },
		Sleep: func(context.Context, time.Duration) error { return nil },
	})
	if err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("got %v", err)
	}
}

func TestAnAccountsTokenIsRenewedAndAPersonsEnds(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{TokenLifetime: time.Hour, PollInterval: time.Second})
	now := time.Now()
	clock := func() time.Time { return now }
	s, err := zitadel.SignIn(t.Context(), zitadel.SignInOptions{Issuer: w.Issuer(), KeyFile: w.keyFile("enroller"), Now: clock})
	w.must(err)
	first, err := s.Token(t.Context())
	w.must(err)
	if again, err := s.Token(t.Context()); err != nil || again != first {
		t.Errorf("another token at once, %v", err)
	}
	now = now.Add(time.Hour)
	if next, err := s.Token(t.Context()); err != nil || next == first {
		t.Errorf("the same token after an hour, %v", err)
	}

	file := filepath.Join(t.TempDir(), "pat")
	w.must(os.WriteFile(file, []byte(first+"\n"), 0o600))
	pat, err := zitadel.SignIn(t.Context(), zitadel.SignInOptions{Issuer: w.Issuer(), TokenFile: file, Now: clock})
	w.must(err)
	if got, err := pat.Token(t.Context()); err != nil || got != first {
		t.Errorf("the token of a file: %v", err)
	}

	w.AddProject("fleet")
	app, err := w.AddApplication(devprovider.Application{Project: "fleet", Native: true})
	w.must(err)
	ada, err := w.AddUser(devprovider.User{Username: "ada", Organization: people})
	w.must(err)
	person, err := zitadel.SignIn(t.Context(), zitadel.SignInOptions{
		Issuer: w.Issuer(), ClientID: app, Now: clock, Prompt: func(p deviceflow.Prompt) { w.must(w.Approve(p.UserCode, ada)) },
		Sleep: func(context.Context, time.Duration) error { return nil },
	})
	w.must(err)
	now = now.Add(time.Hour)
	if _, err := person.Token(t.Context()); !errors.Is(err, zitadel.ErrSession) {
		t.Errorf("a person's token after an hour: %v", err)
	}
}

func TestAKeyThatTheProviderDoesNotTakeIsTold(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	file := w.keyFile("enroller")
	w.must(w.SetActive("enroller", false))
	_, err := zitadel.SignIn(t.Context(), zitadel.SignInOptions{Issuer: w.Issuer(), KeyFile: file})
	if err == nil || !strings.Contains(err.Error(), "give another key file") {
		t.Errorf("got %v", err)
	}
	for _, o := range []zitadel.SignInOptions{{}, {KeyFile: file, ClientID: "1"}} {
		if _, err := zitadel.SignIn(t.Context(), o); err == nil || !strings.Contains(err.Error(), "one thing") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// A token that the provider refuses before its end is replaced once.
func TestATokenThatIsRefusedIsReplacedOnce(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	s := w.signIn("enroller")
	w.ForgetTokens()
	if created, err := w.clientBy(s).EnsureDevice(t.Context(), zitadel.Device{ID: "pi-01"}); err != nil || !created {
		t.Errorf("created %t, %v", created, err)
	}
}
