package deviceflow

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
)

// providerAt is a provider that nobody has asked yet.
func providerAt(t *testing.T, issuer string) *openid.Provider {
	t.Helper()
	clock := &trust.Clock{}
	servers, err := trust.New(clock, "")
	if err != nil {
		t.Fatal(err)
	}
	return openid.New(openid.Options{Issuer: issuer, Clock: clock, Servers: servers})
}

// desk is a provider that answers polls as a test says.
type desk struct {
	*httptest.Server
	mu      sync.Mutex
	answers []string // an error's code, "500", or "token"
	begin   map[string]any
}

func newDesk(t *testing.T, answers ...string) *desk {
	t.Helper()
	d := &desk{answers: answers, begin: map[string]any{
		"device_code": "dc", "user_code": "BCDF-GHJK", "verification_uri": "https://page.example.org", "expires_in": 300, "interval": 5,
	}}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	write := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/begin":
		write(http.StatusOK, d.begin)
	case "/token":
		answer := d.answers[0]
		if len(d.answers) > 1 {
			d.answers = d.answers[1:]
		}
		switch answer {
		case "token":
			write(http.StatusOK, map[string]any{"access_token": "t", "token_type": "Bearer", "expires_in": 60, "refresh_token": "r"})
		case "500":
			write(http.StatusInternalServerError, nil)
		default:
			write(http.StatusBadRequest, map[string]any{"error": answer})
		}
	default:
		write(http.StatusOK, map[string]any{"issuer": d.URL, "token_endpoint": d.URL + "/token", "device_authorization_endpoint": d.URL + "/begin"})
	}
}

func TestTheDeviceFlowPollsAsTheStandardSays(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, tt := range map[string]struct {
		answers []string
		waits   []time.Duration
		failed  string // a part of the error; empty: there is a token
	}{
		"approved at once":              {[]string{"token"}, []time.Duration{5 * s}, ""},
		"approved after a while":        {[]string{"authorization_pending", "authorization_pending", "token"}, []time.Duration{5 * s, 5 * s, 5 * s}, ""},
		"told to slow down, for good":   {[]string{"slow_down", "authorization_pending", "slow_down", "token"}, []time.Duration{5 * s, 10 * s, 10 * s, 15 * s}, ""},
		"a provider in trouble":         {[]string{"500", "500", "token"}, []time.Duration{5 * s, 10 * s, 20 * s}, ""},
		"denied":                        {[]string{"authorization_pending", "access_denied"}, []time.Duration{5 * s, 5 * s}, "denied"},
		"ended":                         {[]string{"expired_token"}, []time.Duration{5 * s}, "the code ended"},
		"another refusal":               {[]string{"invalid_client"}, []time.Duration{5 * s}, "invalid_client"},
		"in trouble until the code end": {[]string{"500"}, []time.Duration{5 * s, 10 * s, 20 * s, 40 * s, 60 * s, 60 * s, 60 * s, 60 * s}, "the code ended"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, tt.answers...)
			now := time.Unix(1_800_000_000, 0)
			var waits []time.Duration
			f := Flow{
				Provider: providerAt(t, d.URL), ClientID: "1", Scopes: []string{"openid"}, Now: func() time.Time { return now },
				Sleep: func(_ context.Context, d time.Duration) error {
					waits, now = append(waits, d), now.Add(d)
					return nil
				},
			}
			p, err := f.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			g, err := f.Await(t.Context(), p)
			if diff := cmp.Diff(tt.waits, waits); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
			switch {
			case tt.failed == "" && (err != nil || g.Token != "t" || g.Refresh != "r"):
				t.Errorf("granted %+v, %v", g, err)
			case tt.failed != "" && (err == nil || !strings.Contains(err.Error(), tt.failed)):
				t.Errorf("error %v, want %q", err, tt.failed)
			}
		})
	}
}

func TestAnAnswerWithoutACodeIsAnError(t *testing.T) {
	t.Parallel()
	for _, missing := range []string{"device_code", "user_code", "verification_uri", "expires_in"} {
		d := newDesk(t, "token")
		delete(d.begin, missing)
		f := Flow{Provider: providerAt(t, d.URL), ClientID: "1", Now: time.Now}
		if _, err := f.Begin(t.Context()); err == nil {
			t.Errorf("without %s: no error", missing)
		}
	}
	d := newDesk(t, "token")
	delete(d.begin, "interval")
	f := Flow{Provider: providerAt(t, d.URL), ClientID: "1", Now: time.Now}
	if p, err := f.Begin(t.Context()); err != nil || p.interval != defaultInterval {
		t.Errorf("without an interval: %+v, %v", p, err)
	}
}
