package devprovider_test

import (
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/devprovider"
)

// A provider that is started from another one's state has its users with their keys
// and roles, refuses what that refused, and signs with the same key.
func TestAProviderGoesOnFromAState(t *testing.T) {
	t.Parallel()
	first := start(t, devprovider.Options{})
	first.must(first.RotateKey("RS256", true))
	first.must(first.RotateKey("RS256", true)) // the first key is gone
	locked := first.user(devprovider.User{Machine: true, TokenType: devprovider.JWT})
	first.must(first.SetActive(locked, false))
	lockedKey := first.keyOf(locked)
	deleted := first.user(devprovider.User{ID: "gone", Machine: true})
	first.must(first.DeleteUser(deleted))
	first.api(devprovider.Application{ClientID: "app", Project: project, Secret: "secret"})
	state, err := first.State()
	first.must(err)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second := run(t, devprovider.Options{State: state, Listener: listener})
	if want := "http://" + listener.Addr().String(); second.Issuer() != want {
		t.Errorf("issuer %s, want %s", second.Issuer(), want)
	}
	_, before := first.get("/oauth/v2/keys")
	_, after := second.get("/oauth/v2/keys")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("published keys (-want +got)\n%s", diff)
	}
	relevant := func(w *world) map[string]any {
		c := claims(t, w.token(first.key, deviceScopes...))
		for _, changes := range []string{"iss", "jti", "iat", "nbf", "exp", "auth_time"} {
			delete(c, changes)
		}
		return c
	}
	if diff := cmp.Diff(relevant(first), relevant(second)); diff != "" {
		t.Errorf("claims (-want +got)\n%s", diff)
	}
	if s := second.exchange(second.assertion(lockedKey, second.right(locked)), deviceScopes...); s.Token != "" {
		t.Error("a deactivated user has a token")
	}
	if _, err := second.AddUser(devprovider.User{ID: deleted, Organization: organization}); !errors.Is(err, devprovider.ErrExists) {
		t.Errorf("a deleted id comes back: %v", err)
	}
	if _, err := second.AddApplication(devprovider.Application{ClientID: "app", Project: project}); !errors.Is(err, devprovider.ErrExists) {
		t.Errorf("an application is forgotten: %v", err)
	}
	second.must(second.RotateKey("RS256", true))
	second.token(first.key, deviceScopes...)
	again, err := second.State()
	second.must(err)
	if _, err := devprovider.New(devprovider.Options{State: again}); err != nil {
		t.Error(err)
	}
	for _, torn := range []string{"{", "{}"} {
		if _, err := devprovider.New(devprovider.Options{State: []byte(torn)}); err == nil {
			t.Errorf("the state %q is taken", torn)
		}
	}
}

// A person who logged in before goes on with the refresh token.
func TestALoginIsInTheState(t *testing.T) {
	t.Parallel()
	first := start(t, devprovider.Options{})
	app := first.api(devprovider.Application{Project: project, Native: true})
	alice := first.user(devprovider.User{})
	login := first.approved(app, alice, "openid offline_access")
	state, err := first.State()
	first.must(err)
	second := run(t, devprovider.Options{State: state})
	if s := second.refresh(app, login.Refresh); s.Token == "" || s.Refresh == "" {
		t.Errorf("refreshed: %+v", s)
	}
}
