package login_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleet.nationtech.io/agent/trust/trusttest"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/eventlog"
)

func TestAPersonLogsInOnceAndIsWhoTheTokenSays(t *testing.T) {
	t.Parallel()
	for role, account := range map[string]string{"viewer": "PEOPLE", "operator": "PEOPLE", "admin": "FLEET"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{})
			id := w.person("Ada", role)
			want := self{Actor: "person-" + id, Account: account, Name: "Ada", Roles: []string{role}, Issuer: w.provider.Issuer(), Context: "default"}
			got := w.mustLogin(id)
			but := cmpopts.IgnoreFields(self{}, "Expires")
			if diff := cmp.Diff(want, got, but); diff != "" {
				t.Errorf("login (-want +got):\n%s", diff)
			}
			access, _ := w.cached()
			code, out, errs := w.fleetctl("whoami", "-o", "json")
			if code != 0 {
				t.Fatalf("whoami: %s", errs)
			}
			if diff := cmp.Diff(want, w.self(out), but); diff != "" {
				t.Errorf("whoami (-want +got):\n%s", diff)
			}
			if ends := time.Until(w.self(out).Expires); ends < 11*time.Hour || ends > 12*time.Hour {
				t.Errorf("the token ends in %v", ends)
			}
			if again, _ := w.cached(); again != access {
				t.Error("a token that holds is asked for again")
			}
			if strings.Contains(out+errs, access) {
				t.Error("the token is shown")
			}
		})
	}
}

func TestATokenIsRenewedByRefreshTokensThatAreUsedOnce(t *testing.T) {
	t.Parallel()
	const life = 5 * time.Second
	w := start(t, devprovider.Options{TokenLifetime: life})
	id := w.person("Ada", "admin")
	w.mustLogin(id)
	access, refresh := w.cached()
	time.Sleep(life)
	for _, c := range []*command{w.begin(nil, "whoami"), w.begin(nil, "whoami")} { // at once
		if code := w.end(c); code != 0 {
			t.Errorf("exit code %d, %s", code, c.err.String())
		}
	}
	access2, refresh2 := w.cached()
	if access2 == access || refresh2 == refresh {
		t.Error("the tokens are still the first ones")
	}
	if n := w.provider.RefreshTokens(id); n != 1 {
		t.Errorf("%d refresh tokens hold", n)
	}
	w.provider.EndLogins(id)
	time.Sleep(life)
	code, _, errs := w.fleetctl("whoami")
	if code != 1 || !strings.Contains(errs, "the login ended") || !strings.Contains(errs, "Try: fleetctl login") {
		t.Errorf("after its end: exit code %d, %s", code, errs)
	}
}

func TestWhoFollowsTheLogLosesNothingOverManyTokens(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"viewer", "admin"} { // in account PEOPLE, and in FLEET
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			follow(t, role)
		})
	}
}

func follow(t *testing.T, role string) {
	w := start(t, devprovider.Options{TokenLifetime: 6 * time.Second})
	w.mustLogin(w.person("Ada", role))
	c := w.begin(nil, "log", "-f", "--device", "edge-01", "-o", "json")
	const events = 40 // over 20 s
	for i := range events {
		w.say(eventlog.DeviceSubject("edge-01"), eventlog.DeviceRegistered, eventlog.Registration{AgentVersion: fmt.Sprint("number-", i)})
		time.Sleep(500 * time.Millisecond) // the pace of the events
	}
	w.eventually("the last event", func() bool { return strings.Contains(c.out.String(), fmt.Sprintf("number-%d\"", events-1)) })
	for i := range events {
		if n := strings.Count(c.out.String(), fmt.Sprintf("\"number-%d\"", i)); n != 1 {
			t.Errorf("event %d is there %d times", i, n)
		}
	}
	if errs := c.err.String(); errs != "" {
		t.Errorf("it complains: %s", errs)
	}
	c.stop()
	if code := w.end(c); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAPersonWhoIsRevokedIsToldAndGoesOnOnceAllowed(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	id := w.person("Ada", "admin")
	w.mustLogin(id)
	c := w.begin(nil, "log", "-f", "--device", "edge-01", "-o", "json")
	register := func(name string) {
		w.say(eventlog.DeviceSubject("edge-01"), eventlog.DeviceRegistered, eventlog.Registration{AgentVersion: name})
	}
	register("before")
	w.eventually("the event before", func() bool { return strings.Contains(c.out.String(), `"before"`) })
	subject := eventlog.AccessSubject(eventlog.AuthSubjectOfActor("person-" + id))
	w.say(subject, eventlog.AccessRevoked, eventlog.Access{Reason: "Requested"})
	w.eventually("the refusal", func() bool { return strings.Contains(c.err.String(), "refuses person-"+id+": access may be revoked") })
	register("meanwhile")
	code, _, errs := w.fleetctl("whoami")
	if code != 1 || !strings.Contains(errs, "refuse this login, and its token looks right") {
		t.Errorf("another command meanwhile: exit code %d, %s", code, errs)
	}
	w.say(subject, eventlog.AccessAllowed, eventlog.Access{Reason: "Requested"})
	w.eventually("the event meanwhile", func() bool { return strings.Contains(c.out.String(), `"meanwhile"`) })
	if n := strings.Count(c.err.String(), "access may be revoked"); n != 1 {
		t.Errorf("it is told %d times: %s", n, c.err.String())
	}
}

func TestAServiceLogsInByItsKey(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	service := w.machine("ci", people, devprovider.JWT, "service-viewer")
	env := []string{
		"FLEET_NATS_URL=" + w.server.URL(), "FLEET_ISSUER=" + w.provider.Issuer(), "FLEET_PROJECT=" + project, "FLEET_INSECURE_PLAINTEXT=1",
	}
	code, out, errs := w.fleetctlIn(append(env, "FLEET_KEY_FILE="+service), "whoami", "-o", "json")
	if code != 0 {
		t.Fatal(errs)
	}
	if s := w.self(out); s.Actor != "service-ci" || s.Account != "PEOPLE" {
		t.Errorf("%+v", s)
	}
	access, _ := w.cached()
	if code, _, errs := w.fleetctlIn(env, "whoami", "--key-file", service); code != 0 {
		t.Error(errs)
	}
	if again, _ := w.cached(); again != access {
		t.Error("a token that holds is asked for again")
	}

	// A machine user with a person's role is a person to the callout, and fleetctl
	// finds that out.
	admin := w.machine("robot", people, devprovider.JWT, "admin")
	if _, out, _ := w.fleetctlIn(env, "whoami", "-o", "json", "--key-file", admin); w.self(out).Actor != "person-robot" {
		t.Errorf("a person's role: %s", out)
	}
	device := w.machine("pi-01", devices, devprovider.JWT, "device")
	if _, out, errs := w.fleetctlIn(env, "whoami", "-o", "json", "--key-file", device); out == "" || w.self(out).Actor != "device-pi-01" {
		t.Errorf("a device: %s%s", out, errs)
	}
	opaque := w.machine("old", people, devprovider.Opaque, "service-viewer")
	if code, _, errs := w.fleetctlIn(env, "whoami", "--key-file", opaque); code != 1 || !strings.Contains(errs, "the token is opaque") {
		t.Errorf("an opaque token: exit code %d, %s", code, errs)
	}
	w.must(w.provider.SetActive("ci", false))
	w.must(os.RemoveAll(filepath.Join(w.config, "fleet", "tokens")))
	if code, _, errs := w.fleetctlIn(env, "whoami", "--key-file", service); code != 1 || !strings.Contains(errs, "invalid_grant") {
		t.Errorf("a user who was deactivated: exit code %d, %s", code, errs)
	}
}

func TestWhoCannotGetInIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	_, c := w.login(w.person("Eve"))
	if errs := c.err.String(); <-c.code != 1 || !strings.Contains(errs, "carries no role of project "+project) || !strings.Contains(errs, "logged in at") {
		t.Errorf("without a role: %s", errs)
	}
	service := w.machine("ci", people, devprovider.JWT, "service-viewer")
	key := []string{"whoami", "--key-file", service}
	for name, tt := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"a token in plaintext": {
			append(key, "--context", "default", "--insecure-plaintext=false"), 2, []string{"not encrypted"},
		},
		"a list that mixes WebSocket with others": {
			append(key, "--url", "wss://a,tls://b"), 2, []string{"mixes WebSocket (wss://a) with other servers (tls://b)"},
		},
		"a context whose name is misspelt": {
			[]string{"whoami", "--context", "defaults"}, 2, []string{"there is no such context", "--context default"},
		},
		"a key file that is not there": {
			[]string{"whoami", "--key-file", "nowhere.json"}, 1, []string{"nowhere.json", "Try: "},
		},
		"a user and a key": {
			append(key, "--user", "alice"), 2, []string{"exclude each other"},
		},
		"login by a key": {
			[]string{"login", "--key-file", service}, 2, []string{"login is for persons"},
		},
		"login with another client": {
			[]string{"login", "--client-id", "nobody"}, 1, []string{"must be that of an application of type Native"},
		},
		"a provider that is not there": {
			[]string{"login", "--issuer", "http://127.0.0.1:1"}, 1, []string{"discover the provider", "Try: is --issuer right"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := w.fleetctl(tt.args...)
			for _, says := range tt.says {
				if code != tt.code || !strings.Contains(errs, says) {
					t.Errorf("exit code %d, want %d: %s; want %q", code, tt.code, errs, says)
				}
			}
		})
	}
	if code, out, errs := w.fleetctl("logout"); code != 0 || !strings.Contains(out, "Logged out") || errs != "" {
		t.Errorf("logout: %s%s", out, errs)
	}
	if code, out, _ := w.fleetctl("logout"); code != 0 || !strings.Contains(out, "fleetctl was not logged in") {
		t.Errorf("a second logout: %s", out)
	}
	if code, _, errs := w.fleetctl("whoami"); code != 1 || !strings.Contains(errs, "fleetctl is not logged in") || !strings.Contains(errs, "Try: fleetctl login --context default") {
		t.Errorf("after logout: %s", errs)
	}
}

func TestEachContextHasALoginOfItsOwnThatEndsWithLogout(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	ada, bob := w.person("Ada", "viewer"), w.person("Bob", "admin")
	w.mustLogin(ada)
	w.mustLogin(bob, "--context", "bobs")
	for context, actor := range map[string]string{"default": "person-" + ada, "bobs": "person-" + bob} {
		if _, out, errs := w.fleetctl("whoami", "-o", "json", "--context", context); !strings.Contains(out, actor) {
			t.Errorf("context %s: %s%s", context, out, errs)
		}
	}
	for _, args := range [][]string{{"logout"}, {"context", "rm", "bobs"}} {
		if code, _, errs := w.fleetctl(args...); code != 0 || errs != "" {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
	if n := w.provider.RefreshTokens(ada) + w.provider.RefreshTokens(bob); n != 0 {
		t.Errorf("%d refresh tokens hold", n)
	}
}

func TestOverTLSAndWebSocketATokenNeedsNoLeave(t *testing.T) {
	t.Parallel()
	ca := trusttest.NewAuthority(t, time.Now().AddDate(-1, 0, 0))
	w := startBehind(t, devprovider.Options{}, ca)
	id := w.person("Ada", "viewer")
	if s := w.mustLogin(id); s.Actor != "person-"+id {
		t.Errorf("%+v", s)
	}
	for name, tt := range map[string]struct {
		args []string
		says string // a part of the error; empty: it is let in
	}{
		"the context has the CA":      {nil, ""},
		"scheme nats with a CA":       {[]string{"--url", w.server.URL()}, ""},
		"WebSocket":                   {[]string{"--url", w.webSocket}, ""},
		"WebSocket mixed with others": {[]string{"--url", w.webSocket + "," + w.url}, "mixes WebSocket"},
		"another CA":                  {[]string{"--ca-file", trusttest.NewAuthority(t, time.Now().AddDate(-1, 0, 0)).File()}, "certificate"},
		"no such CA file":             {[]string{"--ca-file", "nowhere.pem"}, "nowhere.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := w.fleetctl(append([]string{"whoami"}, tt.args...)...)
			switch {
			case tt.says == "" && code != 0:
				t.Errorf("exit code %d, %s", code, errs)
			case tt.says != "" && (code == 0 || !strings.Contains(errs, tt.says)):
				t.Errorf("exit code %d, %s%s; want %q", code, out, errs, tt.says)
			}
		})
	}
}
