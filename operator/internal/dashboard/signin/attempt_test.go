package signin

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAReturnPathStaysOnThisServer(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"/":                                    "/",
		"/devices?state=failing&at=-1h":        "/devices?state=failing&at=-1h",
		"/deployments/shop/a%2Fb":              "/deployments/shop/a%2Fb",
		"/devices?next=https://evil.example":   "/devices?next=https://evil.example",
		"/devices#part":                        "/devices",
		"":                                     "/",
		"devices":                              "/",
		"//":                                   "/",
		"//evil.example":                       "/",
		"///evil.example":                      "/",
		"/\\evil.example":                      "/",
		"\\\\evil.example":                     "/",
		"/devices\\..\\x":                      "/",
		"/%5cevil.example":                     "/",
		"/%2f/evil.example":                    "/",
		"/%2Fevil.example":                     "/",
		"https://evil.example/":                "/",
		"https:evil.example":                   "/",
		"http:///evil.example":                 "/",
		"javascript:alert(1)":                  "/",
		"/a\r\nLocation: https://evil.example": "/",
		"/a%0d%0aLocation:%20x":                "/",
		"/\t/evil.example":                     "/",
		"/%09/evil.example":                    "/",
		" //evil.example":                      "/",
		"/\x00":                                "/",
		"/%zz":                                 "/",
		"/\xff":                                "/",
		"/auth/sign-in?to=/":                   "/",
		"/auth/sign-out":                       "/",
		"/" + strings.Repeat("a", maxReturn):   "/",
	} {
		if got := localPath(to); got != want {
			t.Errorf("to %q a browser is sent to %q, want %q", to, got, want)
		}
	}
}

// Whatever is asked for, a browser is sent to a path of this server.
func TestNoReturnPathLeadsElsewhere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		to := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.SampledFrom([]rune("/\\.:%2fF5cC09ad@?# \tevil")), 1, 24, -1)).Draw(t, "to")
		got := localPath(to)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t\x00 ") {
			t.Fatalf("%q leads to %q", to, got)
		}
		if again := localPath(got); again != got {
			t.Fatalf("%q leads to %q, and that to %q", to, got, again)
		}
	})
}

func TestAnAttemptIsReadFromItsCookieForTenMinutes(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0).UTC()
	a := newAttempt("/devices", now)
	got, ok := readAttempt(a.text(), now.Add(attemptLife-time.Second))
	if diff := cmp.Diff(a, got); !ok || diff != "" {
		t.Errorf("read %v (-want +got):\n%s", ok, diff)
	}
	for name, text := range map[string]string{
		"none": "", "no text of ours": "eA", "empty": attempt{Ends: now.Add(time.Hour)}.text(), "too long": strings.Repeat("A", maxAttempt+1),
		"without a state": attempt{Nonce: "n", Verifier: "v", Ends: now.Add(time.Hour)}.text(),
	} {
		if _, ok := readAttempt(text, now); ok {
			t.Errorf("a cookie that is %s is an attempt", name)
		}
	}
	if _, ok := readAttempt(a.text(), now.Add(attemptLife)); ok {
		t.Error("an attempt holds for longer than ten minutes")
	}
	if len(newAttempt("/"+strings.Repeat("%20", maxReturn/3), now).text()) > maxAttempt {
		t.Error("the longest attempt is longer than what is read")
	}
	elsewhere := a
	elsewhere.To = "https://evil.example/"
	if got, _ := readAttempt(elsewhere.text(), now); got.To != "/" {
		t.Errorf("a cookie that another server has set leads to %q", got.To)
	}
	if b := newAttempt("/", now); b.State == a.State || b.Nonce == a.Nonce || b.Verifier == a.Verifier {
		t.Error("two attempts have something in common")
	}
}
