package identity

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestADeviceFindsInItsTokenWhyItIsRefused(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	e := expected{device: "pi-01", issuer: "https://auth.example.org", projectID: "3012"}
	right := jwt.MapClaims{
		"iss": e.issuer, "sub": "pi-01", "aud": []string{"3012"}, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"urn:zitadel:iam:user:resourceowner:id": "3000",
	}
	with := func(key string, value any) jwt.MapClaims {
		c := maps.Clone(right)
		if c[key] = value; value == nil {
			delete(c, key)
		}
		return c
	}
	for name, tc := range map[string]struct {
		claims jwt.MapClaims
		says   string // empty: nothing
	}{
		"a token that is right":               {right, ""},
		"the audience as a text":              {with("aud", "3012"), ""},
		"another issuer, by a trailing slash": {with("iss", e.issuer+"/"), "issuer"},
		"no audience":                         {with("aud", nil), "not for project 3012"},
		"another project's":                   {with("aud", []string{"9"}), "not for project 3012"},
		"another machine user's":              {with("sub", "pi-02"), "correct device_id"},
		"a machine user whose claim names the device": {
			jwt.MapClaims(merge(with("sub", "301"), "device_id", "pi-01")), "",
		},
		"a machine user whose metadata names the device": {
			jwt.MapClaims(merge(with("sub", "301"), "urn:zitadel:iam:user:metadata", map[string]any{"device_id": "cGktMDE"})), "",
		},
		"metadata in padded base64": {
			jwt.MapClaims(merge(with("sub", "301"), "urn:zitadel:iam:user:metadata", map[string]any{"device_id": "cGktMDE="})), "",
		},
		"one that has ended":              {with("exp", now.Unix()), "ended at"},
		"one that holds later":            {with("nbf", now.Add(time.Hour).Unix()), "holds only from"},
		"neither role nor organization":   {with("urn:zitadel:iam:user:resourceowner:id", nil), "grant the machine user role device"},
		"a role, and no organization":     {jwt.MapClaims(merge(with("urn:zitadel:iam:user:resourceowner:id", nil), "urn:zitadel:iam:org:project:3012:roles", map[string]any{"device": map[string]any{"3000": "x"}})), ""},
		"one that is too long for a line": {with("x", strings.Repeat("x", 3500)), "the bus takes 3500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, tc.claims).SignedString(private())
			if err != nil {
				t.Fatal(err)
			}
			why := e.whyRefused(token, now)
			if tc.says == "" && len(why) > 0 || tc.says != "" && (len(why) != 1 || !strings.Contains(why[0], tc.says)) {
				t.Errorf("it finds %q, want one that says %q", why, tc.says)
			}
		})
	}
	for _, opaque := range []string{"", "x", "a.b.c", "dGVzdA.dGVzdA.dGVzdA", strings.Repeat("A", 200)} {
		if why := e.whyRefused(opaque, now); len(why) != 1 || !strings.Contains(why[0], "opaque") {
			t.Errorf("of the opaque token %q it finds %q", opaque, why)
		}
	}
}

func merge(c jwt.MapClaims, key string, value any) map[string]any {
	c[key] = value
	return c
}

func FuzzWhyRefused(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsxLCIyIl0sImV4cCI6IngifQ.x")
	f.Fuzz(func(_ *testing.T, token string) {
		expected{device: "pi-01", issuer: "i", projectID: "p"}.whyRefused(token, time.Unix(0, 0))
	})
}
