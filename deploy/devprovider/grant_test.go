package devprovider_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/zitadel/oidc/v3/pkg/client/profile"
	"github.com/zitadel/oidc/v3/pkg/client/rs"
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"fleet.nationtech.io/deploy/devprovider"
)

// Zitadel's own client library gets a token with a key file, and two kinds of API
// have it introspected.
func TestZitadelsOwnClientIsServed(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	source, err := profile.NewJWTProfileTokenSource(t.Context(), w.Issuer(), w.key.UserID, w.key.KeyID, []byte(w.key.Key), append(deviceScopes, "urn:zitadel:iam:user:metadata"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := source.TokenCtx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := claims(t, token.AccessToken)
	for _, varies := range []string{"iat", "nbf", "exp", "jti"} {
		delete(got, varies)
	}
	roles := map[string]any{"device": map[string]any{organization: domain}}
	want := map[string]any{
		"iss": w.Issuer(), "sub": machine, "aud": []any{project}, "client_id": "pi-01-name",
		"urn:zitadel:iam:org:project:3012:roles":            roles,
		"urn:zitadel:iam:user:metadata":                     map[string]any{"device_id": "cGktMDE"},
		"urn:zitadel:iam:user:resourceowner:id":             organization,
		"urn:zitadel:iam:user:resourceowner:name":           organization,
		"urn:zitadel:iam:user:resourceowner:primary_domain": domain,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}

	const secret = "100%+:secret"
	basic, err := rs.NewResourceServerClientCredentials(t.Context(), w.Issuer(), w.api(devprovider.Application{Project: project, Secret: secret}), secret)
	if err != nil {
		t.Fatal(err)
	}
	api := w.api(devprovider.Application{Project: project})
	text, err := w.AddApplicationKey(api, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var file devprovider.KeyFile
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	signed, err := rs.NewResourceServerJWTProfile(t.Context(), w.Issuer(), file.ClientID, file.KeyID, []byte(file.Key))
	if err != nil {
		t.Fatal(err)
	}
	for name, server := range map[string]rs.ResourceServer{"Basic": basic, "private_key_jwt": signed} {
		r, err := rs.Introspect[*oidc.IntrospectionResponse](t.Context(), server, token.AccessToken)
		if err != nil {
			t.Fatal(name, err)
		}
		if !r.Active || r.Subject != machine || r.Username != "pi-01-name" || !slices.Contains(r.Audience, project) ||
			cmp.Diff(roles, r.Claims["urn:zitadel:iam:org:project:roles"]) != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// The vectors of ZITADEL.md, section 18, for the provider.
func TestAssertions(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	other := w.keyOf(w.user(devprovider.User{ID: "pi-02", Machine: true}))
	expired, err := w.AddKey(machine, time.Now().Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var old devprovider.KeyFile
	if err := json.Unmarshal(expired, &old); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	with := func(key string, value any) jwt.MapClaims {
		c := w.right(machine)
		if c[key] = value; value == nil {
			delete(c, key)
		}
		return c
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodNone, w.right(machine))
	unsigned.Header["kid"] = w.key.KeyID
	none, err := unsigned.SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private(t, w.key).Public())
	if err != nil {
		t.Fatal(err)
	}
	hmac := jwt.NewWithClaims(jwt.SigningMethodHS256, w.right(machine))
	hmac.Header["kid"] = w.key.KeyID
	confused, err := hmac.SignedString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	if err != nil {
		t.Fatal(err)
	}
	unknown := w.key
	unknown.KeyID = "1"
	for name, tc := range map[string]struct {
		assertion string
		refusal   string // empty: accepted
	}{
		"as the sheet has it":                 {w.assertion(w.key, w.right(machine)), ""},
		"the audience as an array":            {w.assertion(w.key, with("aud", []string{w.Issuer()})), ""},
		"the audience with a slash":           {w.assertion(w.key, with("aud", w.Issuer()+"/")), "invalid_request"},
		"the token endpoint as audience":      {w.assertion(w.key, with("aud", w.Issuer()+"/oauth/v2/token")), "invalid_request"},
		"iss is not sub":                      {w.assertion(w.key, with("sub", "pi-02")), "invalid_request"},
		"no iat":                              {w.assertion(w.key, with("iat", nil)), "invalid_request"},
		"iat five seconds ahead":              {w.assertion(w.key, with("iat", now+5)), "invalid_request"},
		"iat over an hour ago":                {w.assertion(w.key, with("iat", now-3700)), "invalid_request"},
		"exp is now":                          {w.assertion(w.key, with("exp", now)), "invalid_request"},
		"alg none":                            {none, "invalid_"},
		"HS256 with the public key as secret": {confused, "invalid_"},
		"an unknown kid":                      {w.assertion(unknown, w.right(machine)), "invalid_grant"},
		"the key of another user":             {w.assertion(other, w.right(machine)), "invalid_grant"},
		"a key that has ended":                {w.assertion(old, w.right(machine)), "invalid_grant"},
		"no JWT":                              {"x", "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			s := w.exchange(tc.assertion, deviceScopes...)
			if tc.refusal == "" && s.Token == "" || tc.refusal != "" && (s.status != http.StatusBadRequest || s.Token != "" || !strings.HasPrefix(s.Error, tc.refusal)) {
				t.Errorf("%+v, want %q", s, tc.refusal)
			}
		})
	}
}

// Tokens verify by the keys that are published, and not after a rotation without
// overlap.
func TestSigningKeysRotate(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	kids := func() []string {
		_, body := w.get("/oauth/v2/keys")
		var set struct {
			Keys []struct{ Kid, Alg, Use string }
		}
		if err := json.Unmarshal([]byte(body), &set); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, k := range set.Keys {
			if k.Use != "sig" {
				t.Errorf("key %+v", k)
			}
			all = append(all, k.Kid+" "+k.Alg)
		}
		return all
	}
	kid := func() string {
		token, _, err := jwt.NewParser().ParseUnverified(w.token(w.key, deviceScopes...), jwt.MapClaims{})
		if err != nil {
			t.Fatal(err)
		}
		if token.Header["typ"] != "JWT" {
			t.Errorf("typ %v", token.Header["typ"])
		}
		return token.Header["kid"].(string) + " " + token.Method.Alg()
	}
	for _, step := range []struct {
		algorithm string // empty: no rotation
		overlap   bool
		kids      []string
	}{
		{"", false, []string{"signing-1 RS256"}},
		{"RS256", true, []string{"signing-1 RS256", "signing-2 RS256"}},
		{"ES256", true, []string{"signing-2 RS256", "signing-3 ES256"}},
		{"EdDSA", false, []string{"signing-4 EdDSA"}},
	} {
		if step.algorithm != "" {
			if err := w.RotateKey(step.algorithm, step.overlap); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(step.kids, kids()); diff != "" {
			t.Errorf("published after %+v (-want +got)\n%s", step, diff)
		}
		if got := kid(); got != step.kids[len(step.kids)-1] {
			t.Errorf("signed by %s", got)
		}
	}
	if err := w.RotateKey("none", true); err == nil {
		t.Error("algorithm none is taken")
	}
}
