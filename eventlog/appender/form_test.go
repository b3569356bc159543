package appender_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

// However a message came into the log, a consumer and the stream's leader give it
// in one form: single and batched appends, with and without header, one that
// claims what the server says, and a device's report from another account.
func TestAConsumerAndTheLeaderGiveOneCanonicalForm(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p delivery) {
		js := p.log(t)
		a := p.appender(t)
		token := elect(t, a, "a")
		drafts := make([]eventlog.Draft, 5)
		for i := range drafts {
			drafts[i] = eventlog.Draft{Subject: eventlog.DesiredSubject("pi-01", "web"), Type: eventlog.DesiredWithdrawn, Time: electedAt, Namespace: "shop", Revision: uint64(i)}
		}
		if _, err := a.Append(t.Context(), drafts); err != nil {
			t.Fatal(err)
		}
		for _, h := range []nats.Header{
			nil,
			{"Fleet-N": {"e.1", "e.2"}, "fleet-n": {" padded "}},
			{"Nats-Subject": {"forged"}, "Nats-Sequence": {"1"}, "Nats-Stream": {"OTHER"}},
		} {
			if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: eventlog.StateSubject("pi-01", "web"), Header: h, Data: []byte(`{}`)}); err != nil {
				t.Fatal(err)
			}
		}
		wantOneForm(t, js, int(token)+8)
	})
	t.Run("from another account", func(t *testing.T) {
		t.Parallel()
		s := natstest.Start(t, natstest.Config(t, `
accounts {
  FLEET: { jetstream: enabled, users: [{user: operator, password: p}]
    exports: [{service: "fleet.evt.state.*.*"}] }
  DEVICES: { users: [{user: device, password: p}]
    imports: [{service: {account: FLEET, subject: "fleet.evt.state.*.*"}, share: true}] }
}`))
		_, js := s.Connect(t, nats.UserInfo("operator", "p"))
		natstest.EnsureLog(t, js, 1)
		device, _ := s.Connect(t, nats.UserInfo("device", "p"))
		for _, h := range []nats.Header{nil, {"Fleet-N": {"e.1"}}} {
			if _, err := natstest.Request(device, &nats.Msg{Subject: eventlog.StateSubject("pi-01", "web"), Header: h, Data: []byte(`{}`)}, 30*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		wantOneForm(t, js, 2)
	})
}

func wantOneForm(t *testing.T, js jetstream.JetStream, events int) {
	t.Helper()
	leader, err := reader.Authoritative(t.Context(), js, eventlog.LogStream)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range reader.Read(t.Context(), js, reader.Options{}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			t.Fatal(err)
		}
		n++
		m, err := leader.GetMsg(t.Context(), e.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		asked := eventlog.Event{Sequence: m.Sequence, Recorded: m.Time, Subject: m.Subject, Header: m.Header, Data: m.Data}
		if !bytes.Equal(e.AppendCanonical(nil), asked.AppendCanonical(nil)) {
			t.Errorf("event %d: a consumer gives\n%q %s, the leader\n%q %s", e.Sequence, e.Header, e.Recorded, m.Header, m.Time)
		}
	}
	if n != events {
		t.Errorf("read %d events, want %d", n, events)
	}
}

// What the log stores of an event beside its payload: as the server counts it, with
// its separators, the fence of a leader, and a person who asked.
func TestTheHeaderOnTheWireIsLean(t *testing.T) {
	t.Parallel()
	p := delivery{1, natstest.Start(t).Connect}
	js, a := p.log(t), p.appender(t)
	elect(t, a, "fleet-operator-0")
	if _, err := a.Append(t.Context(), []eventlog.Draft{{
		Subject: eventlog.DesiredSubject("pi-01", "hello"), Type: eventlog.DesiredAssigned, Time: time.Now(), Data: []byte(`{}`),
		CorrelationID: "default/hello@3", CausationID: "01JDF00000000000000000CAUSE", Namespace: "default", Revision: 3, Actor: "ada@example.com",
	}}); err != nil {
		t.Fatal(err)
	}
	m, err := reader.MessageAt(t.Context(), js, eventlog.LogStream, 2)
	if err != nil {
		t.Fatal(err)
	}
	n := len("NATS/1.0\r\n\r\n")
	for k, vs := range m.Header {
		for _, v := range vs {
			n += len(k) + len(": ") + len(v) + len("\r\n")
		}
	}
	if m.Header.Get("Nats-Expected-Last-Subject-Sequence") == "" || m.Header.Get(eventlog.HeaderActor) == "" {
		t.Errorf("the message has no fence or no actor, and this test shows nothing: %v", m.Header)
	}
	if n >= 512 {
		t.Errorf("the header is %d bytes on the wire, want under 512", n)
	}
	t.Logf("the header is %d bytes on the wire", n)
}
