package zitadel_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/zitadel"
)

// fixed is a token that cannot be renewed.
type fixed string

func (f fixed) Token(context.Context) (string, error) { return string(f), nil }

func (fixed) Refused(string) bool { return false }

// A refusal of the provider becomes one sentence that says what to do.
func TestEachRefusalSaysWhatToDo(t *testing.T) {
	t.Parallel()
	rest := func(code int, message string) string {
		text, _ := json.Marshal(map[string]any{"code": code, "message": message, "details": []any{}})
		return string(text)
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		kind   error
		says   string
	}{
		"no audience":                          {401, rest(16, "Errors.Token.Invalid (AUTH-7fs1e)"), zitadel.ErrNoAudience, "scope urn:zitadel:iam:org:project:id:zitadel:aud"},
		"no audience, by Connect":              {401, `{"code":"unauthenticated","message":"Errors.Token.Invalid (AUTH-7fs1e)"}`, zitadel.ErrNoAudience, "audience zitadel"},
		"a token that ended":                   {401, rest(16, "invalid token (APP-Reb32)"), zitadel.ErrToken, "sign in again"},
		"no right":                             {403, rest(7, "No matching permissions found (AUTH-5mWD2)"), zitadel.ErrNoRight, "give it the role ORG_USER_MANAGER in organization 3000"},
		"a key of an unknown user":             {404, rest(5, "User could not be found (QUERY-Dfbg2)"), zitadel.ErrNotFound, "console"},
		"an unknown user, by Connect":          {404, `{"code":"not_found","message":"not found"}`, zitadel.ErrNotFound, "console"},
		"a method that is nowhere":             {404, "404 page not found\n", zitadel.ErrNotServed, "check that --issuer is a Zitadel"},
		"the gateway's 404":                    {404, rest(5, "Not Found"), zitadel.ErrNotServed, "check that --issuer is a Zitadel"},
		"not implemented":                      {501, `{"code":"unimplemented","message":"unimplemented"}`, zitadel.ErrNotServed, "check that --issuer is a Zitadel"},
		"an unknown host":                      {404, "instance not found for host x", zitadel.ErrHost, "external address"},
		"one that exists":                      {409, rest(6, "User already exists (COMMAND-k2unb)"), zitadel.ErrExists, "choose another one"},
		"a wrong request":                      {400, rest(3, "invalid key (COMMAND-djk3s)"), zitadel.ErrInvalid, "invalid key"},
		"a wrong state":                        {400, rest(9, "Errors.User.WrongType (COMMAND-bkM3s)"), zitadel.ErrState, "Errors.User.WrongType"},
		"too many requests":                    {429, `{}`, zitadel.ErrLimited, "try again later"},
		"a provider in trouble":                {500, rest(13, "database is down"), zitadel.ErrUnavailable, "database is down"},
		"a proxy in trouble":                   {502, "<html>bad gateway</html>", zitadel.ErrUnavailable, "try again later"},
		"an answer that is no JSON":            {200, "<html>welcome</html>", zitadel.ErrAnswer, "check that --issuer is a Zitadel"},
		"an answer that never ends":            {200, strings.Repeat(" ", 2<<20), zitadel.ErrAnswer, "longer than"},
		"a message that a terminal would obey": {400, rest(3, "x\x1b[2J\ny (A-b1)"), zitadel.ErrInvalid, "x [2J y"},
		"a redirect":                           {302, "", zitadel.ErrInvalid, "correct"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			var waits []time.Duration
			o := zitadel.Options{Issuer: server.URL, Organization: devices, Tokens: fixed("secret-token")}
			quick(&waits)(&o)
			c, err := zitadel.New(o)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.AddKey(t.Context(), "pi-01", public(), time.Now())
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v; want %q", err, tt.says)
			}
			if !strings.HasPrefix(err.Error(), "make a key for user pi-01: ") || strings.Contains(err.Error(), "secret-token") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the sentence is %q", err)
			}
		})
	}
}

func TestAProviderInTroubleIsAskedAgain(t *testing.T) {
	t.Parallel()
	const s = time.Second
	backOff := []time.Duration{s / 2, s, 2 * s, 4 * s, 8 * s}
	for name, tt := range map[string]struct {
		fault devprovider.Fault
		waits []time.Duration
		says  error
	}{
		"three times 503":              {devprovider.Fault{Status: 503, Times: 3}, backOff[:3], nil},
		"limited, with a time":         {devprovider.Fault{Status: 429, Times: 2, RetryAfter: 7 * s}, []time.Duration{7*s + s/2, 8 * s}, nil},
		"limited, for longer than now": {devprovider.Fault{Status: 429, RetryAfter: time.Hour}, nil, zitadel.ErrLimited},
		"500 for good":                 {devprovider.Fault{Status: 500}, backOff, zitadel.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{})
			var waits []time.Duration
			c := w.client("enroller", quick(&waits))
			tt.fault.Path = "/v2/"
			w.SetFault(&tt.fault)
			_, err := c.EnsureDevice(t.Context(), zitadel.Device{ID: "pi-01"})
			if !errors.Is(err, tt.says) {
				t.Errorf("got %v, want %v", err, tt.says)
			}
			if diff := cmp.Diff(tt.waits, waits); diff != "" {
				t.Errorf("waits (-want +got)\n%s", diff)
			}
		})
	}
}

func TestAProviderThatIsAwayIsTold(t *testing.T) {
	t.Parallel()
	var waits []time.Duration
	o := zitadel.Options{Issuer: "http://127.0.0.1:1", Organization: devices, Tokens: fixed("t")}
	quick(&waits)(&o)
	c, err := zitadel.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), "pi-01"); !errors.Is(err, zitadel.ErrUnreachable) || len(waits) != 5 {
		t.Errorf("%v after %d waits", err, len(waits))
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	o.Issuer, waits = server.URL, nil
	if c, err = zitadel.New(o); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), "pi-01"); !errors.Is(err, zitadel.ErrUntrusted) || len(waits) != 0 {
		t.Errorf("%v after %d waits", err, len(waits))
	}
}

func TestWhoMayNotIsToldWhichRoleIsMissing(t *testing.T) {
	t.Parallel()
	for name, g := range generations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{})
			w.SetGeneration(g)
			ctx := t.Context()
			_, err := w.client("nobody").EnsureDevice(ctx, zitadel.Device{ID: "pi-01"})
			if !errors.Is(err, zitadel.ErrNoRight) || !strings.Contains(err.Error(), "ORG_USER_MANAGER in organization 3000") {
				t.Errorf("got %v", err)
			}
			_, _, err = w.client("enroller").EnsureOrganization(ctx, "x")
			if !errors.Is(err, zitadel.ErrNoRight) || !strings.Contains(err.Error(), "the role IAM_OWNER at") {
				t.Errorf("got %v", err)
			}
			_, _, err = w.client("enroller").EnsureProject(ctx, "x")
			if !errors.Is(err, zitadel.ErrNoRight) || !strings.Contains(err.Error(), "ORG_OWNER in organization 3000") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestATokenWithoutTheAudienceIsToldSo(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	token := w.tokenWithout("enroller")
	_, err := w.clientBy(fixed(token)).EnsureDevice(t.Context(), zitadel.Device{ID: "pi-01"})
	if !errors.Is(err, zitadel.ErrNoAudience) {
		t.Errorf("got %v", err)
	}
}

// A user that was made a moment ago is there, also where searches do not show it.
func TestWhatAServerDoesNotShowYetIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, g := range generations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{Lag: 2 * time.Second})
			w.SetGeneration(g)
			c, ctx := w.client("enroller", func(o *zitadel.Options) { o.Settle = 10 * time.Second }), t.Context()
			first, created, err := c.EnsureMachine(ctx, "ci", "")
			if err != nil || !created {
				t.Fatalf("created %t, %v", created, err)
			}
			again, created, err := c.EnsureMachine(ctx, "ci", "")
			if err != nil || created || again != first {
				t.Errorf("again: %s and not %s, created %t, %v", again, first, created, err)
			}
		})
	}
}
