package openid

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/trust"
)

// site is a provider over TLS that judges assertions' times as Zitadel does.
type site struct {
	*httptest.Server
	mu     sync.Mutex
	ahead  time.Duration // of its clock
	answer func(w http.ResponseWriter) bool
	forms  []map[string][]string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewTLSServer(s)
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().Add(s.ahead)
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	if r.URL.Path == discoveryPath {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": s.URL, "token_endpoint": s.URL + "/oauth/v2/token"})
		return
	}
	_ = r.ParseForm()
	s.forms = append(s.forms, r.PostForm)
	if s.answer != nil && s.answer(w) {
		return
	}
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(r.PostForm.Get("assertion"), claims, func(*jwt.Token) (any, error) { return private().Public(), nil },
		jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithIssuedAt(), jwt.WithLeeway(time.Second), jwt.WithAudience(s.URL))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_request", "error_description": err.Error()})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token", "token_type": "Bearer", "expires_in": 43199})
}

func (s *site) provider(t *testing.T, clock *trust.Clock) *Provider {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, err := trust.New(clock, ca)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Issuer: s.URL, Clock: clock, Servers: servers})
}

func scopes() []string { return Scopes("3012", "urn:zitadel:iam:user:metadata") }

func TestADeviceWhoseClockIsWrongGetsAToken(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{
		"a clock that is right": 0,
		"1970":                  time.Since(time.Unix(0, 0)) * -1,
		"two years behind":      -2 * 365 * 24 * time.Hour,
		"two hours behind":      -2 * time.Hour,
		"five seconds ahead":    5 * time.Second,
		"two years ahead":       2 * 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := s.provider(t, &trust.Clock{System: func() time.Time { return time.Now().Add(off) }})
			for range 2 {
				g, err := p.ByKey(t.Context(), testKey(t), scopes())
				if err != nil {
					t.Fatal(err)
				}
				if g != (Grant{Token: "token", Life: 43199 * time.Second}) {
					t.Errorf("granted %+v", g)
				}
			}
			if n := len(s.forms); n != 2 {
				t.Errorf("%d requests for two tokens", n)
			}
		})
	}
}

func TestAClockThatJumpedMeanwhileCostsOneRequestMore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.provider(t, &trust.Clock{})
	if _, err := p.ByKey(t.Context(), testKey(t), scopes()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.ahead = 3 * time.Hour
	s.mu.Unlock()
	if _, err := p.ByKey(t.Context(), testKey(t), scopes()); err != nil {
		t.Error(err)
	}
	if n := len(s.forms); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

func TestTheRequestIsTheSheets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if _, err := s.provider(t, &trust.Clock{}).ByKey(t.Context(), testKey(t), scopes()); err != nil {
		t.Fatal(err)
	}
	form := s.forms[0]
	if len(form["assertion"]) != 1 {
		t.Errorf("assertions %q", form["assertion"])
	}
	delete(form, "assertion")
	want := map[string][]string{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"scope": {"openid urn:zitadel:iam:org:project:id:3012:aud urn:zitadel:iam:org:projects:roles " +
			"urn:zitadel:iam:user:resourceowner urn:zitadel:iam:user:metadata"},
	}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
}

func TestWhatAProviderMayAnswer(t *testing.T) {
	t.Parallel()
	say := func(status int, body string, header ...string) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	for name, tc := range map[string]struct {
		answer  func(http.ResponseWriter) bool
		refusal *Refusal // nil: another error
	}{
		"an unknown key":                    {say(400, `{"error":"invalid_grant","error_description":"key"}`), &Refusal{Status: 400, Code: "invalid_grant", Description: "key"}},
		"too many requests":                 {say(429, "slow down", "Retry-After", "7"), &Refusal{Status: 429, RetryAfter: 7 * time.Second}},
		"a page for people":                 {say(502, "<html>"), &Refusal{Status: 502}},
		"a redirect, which is not followed": {say(307, "", "Location", "https://elsewhere.example.org/token"), &Refusal{Status: 307}},
		"no JSON":                           {say(200, "<html>"), nil},
		"no token":                          {say(200, `{"token_type":"Bearer","expires_in":1}`), nil},
		"a token without an end":            {say(200, `{"access_token":"x","token_type":"Bearer"}`), nil},
		"a token of another kind":           {say(200, `{"access_token":"x","token_type":"mac","expires_in":1}`), nil},
		"a flood":                           {say(200, `{"access_token":"`+strings.Repeat("x", 1<<20)+`","token_type":"Bearer","expires_in":1}`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.answer = tc.answer
			_, err := s.provider(t, &trust.Clock{}).ByKey(t.Context(), testKey(t), scopes())
			if err == nil {
				t.Fatal("no error")
			}
			var got *Refusal
			errors.As(err, &got)
			if diff := cmp.Diff(tc.refusal, got); diff != "" {
				t.Error("(-want +got)\n" + diff)
			}
		})
	}
}

func TestAnotherIssuerIsNotAsked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.provider(t, &trust.Clock{})
	p.issuer = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	p.client.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com"
	if _, err := p.ByKey(t.Context(), testKey(t), scopes()); err == nil || !strings.Contains(err.Error(), "the two must be equal") {
		t.Errorf("error %v", err)
	}
	if len(s.forms) != 0 {
		t.Error("an assertion was sent")
	}
}
