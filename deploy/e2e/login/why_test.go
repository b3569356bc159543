package login_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/fleetctl/login"
	"fleet.nationtech.io/eventlog"
)

// refusedDevice has a device try to get in until it was refused.
func (w *world) device(keyFile string) error {
	w.t.Helper()
	s, err := login.New(login.Options{
		Account: login.Account{Issuer: w.provider.Issuer(), Project: project, KeyFile: keyFile}, Dir: w.t.TempDir(), Now: time.Now,
	})
	w.must(err)
	w.must(s.Ready(w.t.Context()))
	nc, err := nats.Connect(w.server.URL(), nats.TokenHandler(s.Show), nats.Timeout(20*time.Second), nats.NoReconnect())
	if err == nil {
		nc.Close()
	}
	return err
}

func TestDeviceWhySaysWhyADeviceIsRefused(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	w.mustLogin(w.person("Ada", "admin"))
	key := w.machine("pi-01", devices, devprovider.JWT, "device")

	code, out, errs := w.fleetctl("device", "why", "pi-01")
	if code != 0 || !strings.Contains(out, "the callout recorded no login of it") || !strings.Contains(out, "the log knows no such device") {
		t.Errorf("before its first login: %s%s", out, errs)
	}

	w.must(w.device(key))
	why := func() (r struct {
		Verdict, Do, Fleet, Access string
		Logins                     []struct {
			Granted           bool
			Count             int
			Reason, Means, Do string
			Account           string
			KeyID             string `json:"key_id"`
		}
		Unknown []struct {
			Reason, Means, Do string
			Count             int
		}
	},
	) {
		t.Helper()
		code, out, errs := w.fleetctl("device", "why", "pi-01", "-o", "json")
		if code != 0 {
			t.Fatal(errs)
		}
		w.must(json.Unmarshal([]byte(out), &r))
		return r
	}
	w.eventually("the recorded login", func() bool { return len(why().Logins) == 1 })
	if r := why(); !r.Logins[0].Granted || r.Logins[0].Account != "DEVICES" || r.Logins[0].KeyID == "" || !strings.Contains(r.Verdict, "it was let in") {
		t.Errorf("let in: %+v", r)
	}

	w.say(eventlog.AccessSubject("pi-01"), eventlog.AccessRevoked, eventlog.Access{Reason: "Requested", Message: "stolen"})
	w.eventually("it is refused", func() bool { return w.device(key) != nil })
	w.eventually("the recorded refusal", func() bool { return len(why().Logins) == 2 })
	r := why()
	if newest := r.Logins[0]; newest.Granted || newest.Reason != "AccessRevoked" || newest.Means == "" || newest.Do == "" {
		t.Errorf("refused: %+v", newest)
	}
	if !strings.Contains(r.Verdict, "access is revoked") || !strings.Contains(r.Access, "by operator") || !strings.Contains(r.Access, "stolen") {
		t.Errorf("revoked: %+v", r)
	}

	w.say(eventlog.AccessSubject("pi-01"), eventlog.AccessAllowed, eventlog.Access{Reason: "Requested"})
	w.eventually("it is let in", func() bool { return w.device(key) == nil })
	if r := why(); !strings.Contains(r.Access, "allowed again") {
		t.Errorf("allowed: %+v", r)
	}
	_, out, _ = w.fleetctl("device", "why", "pi-01")
	for _, says := range []string{"refused", "AccessRevoked", "let in", "FirstGrant", "Recorded logins, newest first"} {
		if !strings.Contains(out, says) {
			t.Errorf("the text lacks %q:\n%s", says, out)
		}
	}
}

func TestDeviceWhyNamesRefusedLoginsThatMayBeTheDevices(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	w.mustLogin(w.person("Ada", "admin"))
	w.say(eventlog.AuthSubject(eventlog.AuthUnknown), eventlog.AuthDenied, eventlog.Auth{Reason: "NoRole", Message: "the user has no role", Count: 7})
	w.say(eventlog.AuthSubject(eventlog.AuthUnknown), eventlog.AuthDenied, eventlog.Auth{Reason: "NoRole", Message: "the user has no role", Count: 5})
	_, out, errs := w.fleetctl("device", "why", "pi-09")
	for _, says := range []string{"the refused ones below may be its", "NoRole, 12 times", "devices' organization"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), says) {
			t.Errorf("it lacks %q:\n%s%s", says, out, errs)
		}
	}
}
