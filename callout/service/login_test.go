package service_test

import (
	"errors"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/callout/token"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

func TestADeviceLogsInAndReportsAsItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	nc := w.connect(w.provider.Device("pi-01").Token(t), nats.CustomInboxPrefix(eventlog.InboxPrefix("pi-01")))
	if _, err := nc.Request(eventlog.StateSubject("pi-01", "web"), []byte(`{"device_id":"pi-01","deployment":"web","phase":"Running"}`), 30*time.Second); err != nil {
		t.Errorf("its own report is not acknowledged: %v", err)
	}
	if _, err := nc.Request(eventlog.StateSubject("pi-02", "web"), []byte(`{}`), 200*time.Millisecond); err == nil {
		t.Error("the report of another device is acknowledged")
	}
	if nc.MaxPayload() != logstream.MaxReportBytes {
		t.Errorf("max_payload is %d", nc.MaxPayload())
	}
}

func TestPersonsAndServicesLogInToTheirAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	for name, tt := range map[string]struct {
		actor   string
		draft   *providertest.Draft
		request string // a subject that must be answered
		refused string // a subject that must not
	}{
		"a viewer":    {"person-17", w.provider.Person("17", "viewer"), "$JS.API.DIRECT.GET.FLEET", "fleet.evt.request.person-17.shop.web"},
		"an operator": {"person-18", w.provider.Person("18", "operator"), "fleet.evt.request.person-18.shop.web", "fleet.evt.request.person-17.shop.web"},
		"an admin":    {"person-19", w.provider.Person("19", "admin"), "$JS.API.INFO", "fleet.evt.access.pi-01"},
		"a service":   {"service-ci", w.provider.Person("ci", "service-operator"), "fleet.evt.request.service-ci.shop.web", "$JS.API.INFO"},
	} {
		t.Run(name, func(t *testing.T) {
			nc := w.connect(tt.draft.Token(t), nats.CustomInboxPrefix(eventlog.InboxPrefix(tt.actor)))
			if _, err := nc.Request(tt.request, []byte(`{"last_by_subj":"fleet.evt.leader"}`), 30*time.Second); err != nil {
				t.Errorf("%s: %v", tt.request, err)
			}
			if m, err := nc.Request(tt.refused, nil, 200*time.Millisecond); err == nil {
				t.Errorf("%s is answered: %s", tt.refused, m.Data)
			}
		})
	}
}

func TestUsersOfTheConfigurationLogInByPasswordWithoutTheCallout(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // no callout runs
	w.server.Connect(t, nats.UserInfo("lab", "l"), nats.NoReconnect())
	if nc, err := nats.Connect(w.server.URL(), nats.UserInfo("lab", "wrong"), nats.NoReconnect(), nats.Timeout(20*time.Second)); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("a wrong password: %v", err)
	}
}

func TestAConnectionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	closed := make(chan struct{})
	exp := time.Now().Add(8 * time.Second) // in which a busy machine comes to connect
	nc := w.connect(w.provider.Device("pi-01").With("exp", exp.Unix()).Token(t), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	select {
	case <-closed:
		if late := time.Since(exp); late > token.DefaultLeeway/2 { // a server that gave a leeway would end it by that later
			t.Errorf("it ended %v after its token", late)
		}
	case <-time.After(time.Minute):
		t.Error("it outlives its token")
	}
	nc.Close()
}

func TestAnOpaqueTokenLogsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, err := token.ReadApplicationKey(providertest.ApplicationKeyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	r := w.start(func(o *service.Options) { o.Introspection = key })
	w.connect(w.provider.Opaque(w.provider.Device("pi-01").Claims))
	r.refused(w, "an unknown opaque token", "opaque", refusal.Inactive)
}

func TestLoginsAreRecordedWhenSomethingChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start()
	for range 3 {
		w.connect(w.provider.Device("pi-01").Token(t)).Close()
	}
	w.connect(w.provider.Person("17", "viewer").With("name", "Ada").Token(t)).Close()
	r.await(t, "fleet_callout_events_total", 2, `"granted"`)
	w.connect(w.provider.Person("17", "operator").Token(t)).Close()
	r.await(t, "fleet_callout_events_total", 3, `"granted"`)
	r.refused(w, "an expired token", w.provider.Device("pi-01").With("exp", time.Now().Add(-time.Hour).Unix()).Token(t), refusal.Expired)
	r.refused(w, "an expired token again", w.provider.Device("pi-01").With("exp", time.Now().Add(-time.Hour).Unix()).Token(t), refusal.Expired)
	r.refused(w, "a forged token for another's subject", w.provider.Device("pi-02").Sign(jwt.SigningMethodRS256, providertest.AttackersKey()).Token(t), refusal.BadSignature)
	r.refused(w, "another organization's user with a device's id", w.provider.Device("pi-03").With("urn:zitadel:iam:user:resourceowner:id", providertest.OtherOrg).Token(t), refusal.NoRole)
	r.stop()

	type line struct {
		Subject, Type, Reason, Actor, Label, Account string
		Roles                                        []string
		Count                                        int
	}
	var got []line
	for _, e := range w.events() {
		a, err := eventlog.Payload[eventlog.Auth](e)
		if err != nil {
			t.Fatal(err)
		}
		if e.Address.Device != eventlog.AuthUnknown && a.Grant == "" {
			t.Errorf("%s on %s does not say what was granted last", e.Type, e.Subject)
		}
		got = append(got, line{e.Address.Device, string(e.Type), a.Reason, a.Actor, a.Label, a.Account, a.Roles, a.Count})
	}
	want := []line{
		{"pi-01", "auth.granted", "FirstGrant", "device-pi-01", "", "DEVICES", nil, 0},
		{"_person-17", "auth.granted", "FirstGrant", "person-17", "Ada", "PEOPLE", []string{"viewer"}, 0},
		{"_person-17", "auth.granted", "GrantChanged", "person-17", "", "PEOPLE", []string{"operator"}, 0},
		{"pi-01", "auth.denied", string(refusal.Expired), "device-pi-01", "", "", nil, 1},
		{"_unknown", "auth.denied", string(refusal.BadSignature), "", "", "", nil, 1},
		{"_unknown", "auth.denied", string(refusal.NoRole), "", "", "", nil, 1},
		{"pi-01", "auth.denied", string(refusal.Expired), "device-pi-01", "", "", nil, 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	w.start()
	w.connect(w.provider.Device("pi-01").Token(t)).Close()
	w.connect(w.provider.Person("17", "operator").Token(t)).Close()
	time.Sleep(200 * time.Millisecond) // nothing is to happen
	if n := len(w.events()); n != len(want) {
		t.Errorf("a restarted replica recorded %d events more, though nothing changed", n-len(want))
	}
}
