package devprovider_test

import (
	"net/http"
	"net/url"
	"testing"

	"fleet.nationtech.io/deploy/devprovider"
)

func (w *world) refresh(client, token string) said {
	w.t.Helper()
	return w.post("/oauth/v2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {client}})
}

// approved is what a person gets who approves a login of an application.
func (w *world) approved(client, person, scope string) said {
	w.t.Helper()
	a := w.authorize(client, scope)
	w.must(w.Approve(a.UserCode, person))
	s := w.poll(client, a)
	if s.Token == "" {
		w.t.Fatalf("approved: %+v", s)
	}
	return s
}

func TestARefreshTokenIsGoodForOneUse(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	app := w.api(devprovider.Application{Project: project, Native: true})
	other := w.api(devprovider.Application{Project: project, Native: true})
	alice := w.user(devprovider.User{Username: "alice"})
	w.must(w.GrantRole(alice, devprovider.Role{Project: project, Key: "viewer", Organization: organization}))

	if s := w.approved(app, alice, "openid"); s.Refresh != "" {
		t.Error("a refresh token came without offline_access")
	}
	first := w.approved(app, alice, "openid offline_access")
	if s := w.refresh(other, first.Refresh); s.Error != "invalid_grant" {
		t.Errorf("by another application: %+v", s)
	}
	w.must(w.GrantRole(alice, devprovider.Role{Project: project, Key: "operator", Organization: organization}))
	second := w.refresh(app, first.Refresh)
	if second.Token == "" || second.Refresh == "" || second.Refresh == first.Refresh {
		t.Fatalf("refreshed: %+v", second)
	}
	if roles, _ := claims(t, second.Token)["urn:zitadel:iam:org:project:roles"].(map[string]any); roles["operator"] == nil {
		t.Errorf("the refreshed token lacks the new role: %v", roles)
	}
	if s := w.refresh(app, first.Refresh); s.Error != "invalid_grant" || s.status != http.StatusBadRequest {
		t.Errorf("a second use: %+v", s)
	}
	if n := w.RefreshTokens(alice); n != 1 {
		t.Errorf("%d refresh tokens hold", n)
	}
	if s := w.post("/oauth/v2/revoke", url.Values{"token": {second.Refresh}, "token_type_hint": {"refresh_token"}, "client_id": {app}}); s.status != http.StatusOK {
		t.Errorf("revoke: %+v", s)
	}
	if s := w.refresh(app, second.Refresh); s.Error != "invalid_grant" {
		t.Errorf("revoked: %+v", s)
	}
	third := w.approved(app, alice, "openid offline_access")
	w.must(w.SetActive(alice, false))
	if s := w.refresh(app, third.Refresh); s.Error != "invalid_grant" {
		t.Errorf("of a user who was deactivated: %+v", s)
	}
	w.must(w.SetActive(alice, true))
	w.EndLogins(alice)
	if s := w.refresh(app, third.Refresh); s.Error != "invalid_grant" {
		t.Errorf("after an administrator ended the logins: %+v", s)
	}
}
