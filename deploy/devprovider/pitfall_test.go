package devprovider_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/devprovider"
)

const introspect = "/oauth/v2/introspect"

// The pitfalls of ZITADEL.md, section 16, that a provider can play. The first two
// are in TestAssertions.
func TestPitfalls(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	const secret = "100%+:secret"
	api := w.api(devprovider.Application{Project: project, Secret: secret})
	foreign := w.api(devprovider.Application{Project: "9999", Secret: secret})
	active := func(token, client string) bool {
		s := w.post(introspect, url.Values{"token": {token}}, url.QueryEscape(client), url.QueryEscape(secret))
		if s.status != http.StatusOK {
			t.Errorf("introspection: status %d", s.status)
		}
		return s.Active
	}
	right := w.token(w.key, deviceScopes...)
	for name, test := range map[string]func(*testing.T){
		"3: a token without the project's scope is good for nothing": func(t *testing.T) {
			token := w.token(w.key, "openid")
			if aud := claims(t, token)["aud"].([]any); len(aud) != 0 || active(token, api) || !active(right, api) {
				t.Errorf("audience %v", aud)
			}
		},
		"4: a machine user's token is opaque unless it is told otherwise": func(t *testing.T) {
			token := w.token(w.keyOf(w.user(devprovider.User{Machine: true})), deviceScopes...)
			if strings.Count(token, ".") == 2 || !active(token, api) {
				t.Errorf("token %s", token)
			}
		},
		"5: a machine's JWT has roles of the project alone": func(t *testing.T) {
			c := claims(t, right)
			if c["urn:zitadel:iam:org:project:roles"] != nil || c["urn:zitadel:iam:org:project:3012:roles"] == nil {
				t.Errorf("claims %v", c)
			}
		},
		"6: the singular scope is ignored in silence": func(t *testing.T) {
			c := claims(t, w.token(w.key, "openid", "urn:zitadel:iam:org:project:id:3012:aud", "urn:zitadel:iam:org:project:roles"))
			if c["urn:zitadel:iam:org:project:3012:roles"] != nil {
				t.Errorf("claims %v", c)
			}
		},
		"7: metadata is base64url without padding": func(t *testing.T) {
			c := claims(t, w.token(w.key, append(deviceScopes, "urn:zitadel:iam:user:metadata")...))
			value := c["urn:zitadel:iam:user:metadata"].(map[string]any)["device_id"].(string)
			if _, err := base64.StdEncoding.DecodeString(value); err == nil {
				t.Errorf("%q is padded", value)
			}
		},
		"8: the id token ends when it begins": func(t *testing.T) {
			c := claims(t, w.exchange(w.assertion(w.key, w.right(machine)), deviceScopes...).IDToken)
			if c["exp"] != c["iat"] {
				t.Errorf("claims %v", c)
			}
		},
		"9: client_id is the username": func(t *testing.T) {
			if c := claims(t, right); c["client_id"] != "pi-01-name" || c["sub"] != machine {
				t.Errorf("claims %v", c)
			}
		},
		"10: to an API of another project the token is inactive, and that is no error": func(*testing.T) {
			if active(right, foreign) {
				t.Error("active")
			}
		},
		"11: a secret that is not encoded is refused": func(t *testing.T) {
			if s := w.post(introspect, url.Values{"token": {right}}, api, secret); s.status != http.StatusUnauthorized && s.status != http.StatusBadRequest {
				t.Errorf("status %d", s.status)
			}
		},
		"13: another host is not served, discovery neither": func(t *testing.T) {
			for _, path := range []string{"/.well-known/openid-configuration", "/debug/healthz", "/oauth/v2/keys"} {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Issuer()+path, nil)
				w.must(err)
				r.Host = "zitadel.ns.svc:8080"
				res, err := http.DefaultClient.Do(r)
				w.must(err)
				res.Body.Close()
				if res.StatusCode != http.StatusNotFound {
					t.Errorf("%s: status %d", path, res.StatusCode)
				}
			}
		},
		"16: after a deactivation the JWT is as it was, and introspection says no": func(t *testing.T) {
			key := w.keyOf(w.user(devprovider.User{ID: "pi-16", Machine: true, TokenType: devprovider.JWT}))
			token := w.token(key, deviceScopes...)
			w.must(w.SetActive("pi-16", false))
			if active(token, api) || claims(t, token)["exp"].(float64) < float64(time.Now().Unix()) {
				t.Error("active")
			}
			if s := w.exchange(w.assertion(key, w.right("pi-16")), deviceScopes...); s.Error != "invalid_grant" {
				t.Errorf("%+v", s)
			}
			w.must(w.SetActive("pi-16", true))
			if !active(token, api) {
				t.Error("not active again")
			}
		},
		"17 and revocation: a revoked token is inactive": func(t *testing.T) {
			key := w.keyOf(w.user(devprovider.User{ID: "pi-17", Machine: true}))
			token := w.token(key, deviceScopes...)
			if s := w.post("/oauth/v2/revoke", url.Values{"token": {token}}, url.QueryEscape(api), url.QueryEscape(secret)); s.status != http.StatusOK || active(token, api) {
				t.Errorf("%+v", s)
			}
		},
		"21: an id that was deleted never comes back": func(t *testing.T) {
			id := w.user(devprovider.User{ID: "pi-21", Machine: true})
			key := w.keyOf(id)
			w.must(w.DeleteUser(id))
			if _, err := w.AddUser(devprovider.User{ID: id, Organization: organization}); !errors.Is(err, devprovider.ErrExists) {
				t.Errorf("error %v", err)
			}
			if s := w.exchange(w.assertion(key, w.right(id)), deviceScopes...); s.Error != "invalid_grant" {
				t.Errorf("%+v", s)
			}
		},
		"a client that cannot prove itself is told so, and not that the token is inactive": func(t *testing.T) {
			for _, basic := range [][]string{{}, {api, "wrong"}, {"unknown", secret}} {
				if s := w.post(introspect, url.Values{"token": {right}}, basic...); s.status != http.StatusUnauthorized && s.status != http.StatusBadRequest {
					t.Errorf("with %q: status %d", basic, s.status)
				}
			}
		},
		"no scope openid": func(t *testing.T) {
			if s := w.exchange(w.assertion(w.key, w.right(machine)), deviceScopes[1]); s.Error != "invalid_scope" {
				t.Errorf("%+v", s)
			}
		},
		"roles that were withdrawn are missing in the next token": func(t *testing.T) {
			key := w.keyOf(w.user(devprovider.User{ID: "pi-30", Machine: true, TokenType: devprovider.JWT}))
			w.must(w.GrantRole("pi-30", devprovider.Role{Project: project, Key: "device", Organization: organization}))
			before := claims(t, w.token(key, deviceScopes...))
			w.must(w.WithdrawRoles("pi-30", project))
			after := claims(t, w.token(key, deviceScopes...))
			if claim := "urn:zitadel:iam:org:project:3012:roles"; before[claim] == nil || after[claim] != nil {
				t.Errorf("before %v, after %v", before, after)
			}
		},
	} {
		t.Run(name, test)
	}
}

// Pitfall 12: users, keys and grants are seen some seconds later.
func TestWhatIsNewIsSeenLater(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{Lag: 10 * time.Second})
	first := w.exchange(w.assertion(w.key, w.right(machine)), deviceScopes...)
	if first.Error != "invalid_grant" {
		t.Errorf("at once: %+v", first)
	}
	var got said
	for until := time.Now().Add(time.Minute); got.Token == "" && time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		got = w.exchange(w.assertion(w.key, w.right(machine)), deviceScopes...)
	}
	if got.Token == "" {
		t.Fatalf("never: %+v", got)
	}
}

func TestADeviceMayMakeItsKeyItself(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	w.must(err)
	public, err := x509.MarshalPKIXPublicKey(own.Public())
	w.must(err)
	id, err := w.AddPublicKey(machine, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), time.Time{})
	w.must(err)
	key := devprovider.KeyFile{KeyID: id, UserID: machine, Key: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(own)}))}
	if w.token(key, deviceScopes...) == "" {
		t.Error("no token")
	}
	w.must(w.RemoveKey(id))
	if s := w.exchange(w.assertion(key, w.right(machine)), deviceScopes...); s.Error != "invalid_grant" {
		t.Errorf("after the key was removed: %+v", s)
	}
	if _, err := w.AddPublicKey(machine, []byte("x"), time.Time{}); err == nil {
		t.Error("what is no PEM is taken")
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	for name, u := range map[string]devprovider.User{
		"the id":   {ID: machine, Username: "other", Organization: organization},
		"the name": {ID: "other", Username: "pi-01-name", Organization: organization},
	} {
		if _, err := w.AddUser(u); !errors.Is(err, devprovider.ErrExists) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.AddUser(devprovider.User{Organization: "none"}); !errors.Is(err, devprovider.ErrNotFound) {
		t.Errorf("an unknown organization: %v", err)
	}
}

func TestItSaysThatItIsForDevelopment(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	_, text := w.get("/.well-known/openid-configuration")
	var document map[string]any
	w.must(json.Unmarshal([]byte(text), &document))
	if document["fleet_development_provider"] != devprovider.Warning {
		t.Error("its discovery document does not say so")
	}
	for member, path := range map[string]string{
		"issuer": "", "token_endpoint": "/oauth/v2/token", "jwks_uri": "/oauth/v2/keys", "introspection_endpoint": "/oauth/v2/introspect",
		"revocation_endpoint": "/oauth/v2/revoke", "device_authorization_endpoint": "/oauth/v2/device_authorization",
		"authorization_endpoint": "/oauth/v2/authorize", "userinfo_endpoint": "/oidc/v1/userinfo", "end_session_endpoint": "/oidc/v1/end_session",
	} {
		if document[member] != w.Issuer()+path {
			t.Errorf("%s is %v", member, document[member])
		}
	}
	if status, body := w.get("/device?user_code=BCDF-GHJK"); status != http.StatusOK || !strings.Contains(body, devprovider.Warning) || !strings.Contains(body, "BCDF-GHJK") {
		t.Errorf("the page for people: %d %s", status, body)
	}
	if status, _ := w.get("/.well-known/oauth-authorization-server"); status != http.StatusNotFound {
		t.Errorf("RFC 8414's document: status %d, and Zitadel has none", status)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	w.SetFault(&devprovider.Fault{Path: "/oauth/v2/keys", Status: http.StatusOK, Body: `{"keys":[]}`})
	if status, body := w.get("/oauth/v2/keys"); status != http.StatusOK || body != `{"keys":[]}` {
		t.Errorf("%d %s", status, body)
	}
	if w.token(w.key, deviceScopes...) == "" {
		t.Error("the fault concerns another path")
	}
	w.SetFault(&devprovider.Fault{Status: http.StatusBadGateway})
	if s := w.exchange("x"); s.status != http.StatusBadGateway {
		t.Errorf("status %d", s.status)
	}
	w.SetFault(&devprovider.Fault{Hang: true})
	brief := &http.Client{Timeout: 100 * time.Millisecond}
	if res, err := brief.Get(w.Issuer() + "/oauth/v2/keys"); err == nil {
		res.Body.Close()
		t.Error("it answers")
	}
	w.SetFault(nil)
	if status, _ := w.get("/oauth/v2/keys"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}
