package devprovider_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/devprovider"
)

type authorization struct {
	DeviceCode string `json:"device_code"`
	UserCode   string `json:"user_code"`
	URI        string `json:"verification_uri"`
	Complete   string `json:"verification_uri_complete"`
	Expires    int    `json:"expires_in"`
	Interval   int    `json:"interval"`
}

func (w *world) authorize(client, scope string) (a authorization) {
	w.t.Helper()
	res, err := http.PostForm(w.Issuer()+"/oauth/v2/device_authorization", url.Values{"client_id": {client}, "scope": {scope}})
	w.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	w.must(err)
	w.must(json.Unmarshal(body, &a))
	if !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(a.UserCode) {
		w.t.Errorf("user code %q", a.UserCode)
	}
	return a
}

func (w *world) poll(client string, a authorization) said {
	w.t.Helper()
	return w.post("/oauth/v2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {a.DeviceCode}, "client_id": {client},
	})
}

func TestAPersonLogsInAtATerminal(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	app := w.api(devprovider.Application{Project: project, Native: true})
	alice := w.user(devprovider.User{Username: "alice@example.org", Name: "Alice"})
	w.must(w.GrantRole(alice, devprovider.Role{Project: project, Key: "operator", Organization: organization}))

	a := w.authorize(app, "openid profile")
	if a.Expires != 300 || a.Interval != 5 || a.URI != w.Issuer()+"/device" || a.Complete != a.URI+"?user_code="+a.UserCode {
		t.Errorf("%+v", a)
	}
	if s := w.poll(app, a); s.Error != "authorization_pending" || s.status != http.StatusBadRequest {
		t.Errorf("at first: %+v", s)
	}
	if s := w.poll(app, a); s.Error != "slow_down" {
		t.Errorf("too soon: %+v", s)
	}
	res, err := http.PostForm(a.URI, url.Values{"user_code": {a.UserCode}, "user": {alice}, "do": {"approve"}})
	w.must(err)
	res.Body.Close()

	b := w.authorize(app, "openid profile")
	w.must(w.Approve(b.UserCode, alice))
	s := w.poll(app, b)
	if s.Token == "" || s.IDToken == "" {
		t.Fatalf("approved: %+v", s)
	}
	c := claims(t, s.Token)
	if aud := c["aud"].([]any); c["sub"] != alice || !slices.Contains(aud, any(project)) || !slices.Contains(aud, any(app)) || c["urn:zitadel:iam:org:project:roles"] == nil {
		t.Errorf("claims %v", c)
	}
	if id := claims(t, s.IDToken); id["at_hash"] == nil {
		t.Errorf("id token %v", id)
	}
	if s := w.poll(app, b); s.Error != "access_denied" {
		t.Errorf("a code used twice: %+v", s)
	}
}

func TestADeviceCodeIsDeniedOrEnds(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	app := w.api(devprovider.Application{Project: project, Native: true})
	denied := w.authorize(app, "openid")
	w.must(w.Deny(denied.UserCode))
	if s := w.poll(app, denied); s.Error != "access_denied" {
		t.Errorf("denied: %+v", s)
	}
	w = start(t, devprovider.Options{CodeLifetime: time.Second})
	app = w.api(devprovider.Application{Project: project, Native: true})
	ends := w.authorize(app, "openid")
	time.Sleep(1100 * time.Millisecond) // the life of a code
	if s := w.poll(app, ends); s.Error != "expired_token" {
		t.Errorf("at its end: %+v", s)
	}
	if err := w.Approve(ends.UserCode, machine); err == nil {
		t.Error("a machine approved")
	}
	if s := w.post("/oauth/v2/device_authorization", url.Values{"client_id": {w.api(devprovider.Application{Project: project})}}); s.Error != "unauthorized_client" {
		t.Errorf("an API begins the flow: %+v", s)
	}
}
