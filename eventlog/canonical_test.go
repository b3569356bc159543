package eventlog_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// The form of the documentation, byte by byte: seals that exist depend on it.
func TestTheCanonicalFormIsThatOfTheDocumentation(t *testing.T) {
	t.Parallel()
	e := eventlog.Event{
		Sequence: 258, Recorded: time.Unix(1, 5), Subject: "fleet.evt.seal",
		Header: nats.Header{"b": {"2", ""}, "A": {"1"}}, Data: []byte("{}"),
	}
	want := "0000000000000102" + "000000003b9aca05" +
		"0000000e" + hex.EncodeToString([]byte("fleet.evt.seal")) +
		"00000002" +
		"00000001" + "41" + "00000001" + "00000001" + "31" +
		"00000001" + "62" + "00000002" + "00000001" + "32" + "00000000" +
		"00000002" + "7b7d"
	if got := hex.EncodeToString(e.AppendCanonical(nil)); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// Two messages that differ in anything have two forms.
func TestMessagesThatDifferHaveDifferentCanonicalForms(t *testing.T) {
	t.Parallel()
	event := rapid.Custom(func(t *rapid.T) eventlog.Event {
		few := rapid.StringMatching(`[ab:]{0,2}`)
		return eventlog.Event{
			Sequence: rapid.Uint64Range(1, 3).Draw(t, "sequence"), Recorded: time.Unix(0, rapid.Int64Range(-1, 1).Draw(t, "recorded")),
			Subject: few.Draw(t, "subject"), Data: []byte(few.Draw(t, "data")),
			Header: rapid.MapOfN(few, rapid.SliceOfN(few, 0, 2), 0, 2).Draw(t, "header"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := event.Draw(t, "a"), event.Draw(t, "b")
		same := a.Sequence == b.Sequence && a.Recorded.Equal(b.Recorded) && a.Subject == b.Subject &&
			fmt.Sprintf("%q", a.Header) == fmt.Sprintf("%q", b.Header) && bytes.Equal(a.Data, b.Data)
		if got := bytes.Equal(a.AppendCanonical(nil), b.AppendCanonical(nil)); got != same {
			t.Errorf("forms equal: %v, messages equal: %v", got, same)
		}
	})
}

// What is parsed has one form, the one that was parsed.
func FuzzCanonical(f *testing.F) {
	f.Add(eventlog.Event{
		Sequence: 258, Recorded: time.Unix(1, 5), Subject: "fleet.evt.seal",
		Header: nats.Header{"b": {"2", ""}, "A": {"1"}}, Data: []byte("{}"),
	}.AppendCanonical(nil))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := eventlog.ParseCanonical(b)
		if errors.Is(err, eventlog.ErrNotCanonical) {
			return
		}
		if got := e.AppendCanonical(nil); !bytes.Equal(got, b) {
			t.Errorf("parsed %x, appended %x", b, got)
		}
	})
}

// However a message came into the log, a consumer and the stream's leader give it
// in one form: single and batched appends, with and without header, one that
// claims what the server says, and a device's report from another account.
func TestAConsumerAndTheLeaderGiveOneCanonicalForm(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		js := p.log(t)
		a := p.appender(t)
		if _, err := a.Elect(t.Context(), eventlog.Leader{Identity: "a"}, at); err != nil {
			t.Fatal(err)
		}
		drafts := make([]eventlog.Draft, 5)
		for i := range drafts {
			drafts[i] = eventlog.Draft{Subject: eventlog.DesiredSubject("pi-01", "web"), Type: eventlog.DesiredWithdrawn, Time: at, Namespace: "shop", Revision: uint64(i)}
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
		wantOneForm(t, js, 9)
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
		if _, err := eventlog.EnsureLog(t.Context(), js, eventlog.LogConfig{}); err != nil {
			t.Fatal(err)
		}
		device, _ := s.Connect(t, nats.UserInfo("device", "p"))
		for _, h := range []nats.Header{nil, {"Fleet-N": {"e.1"}}} {
			if _, err := natstest.Request(device, &nats.Msg{Subject: eventlog.StateSubject("pi-01", "web"), Header: h, Data: []byte(`{}`)}, 5*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		wantOneForm(t, js, 2)
	})
}

func wantOneForm(t *testing.T, js jetstream.JetStream, events int) {
	t.Helper()
	leader, err := eventlog.Authoritative(t.Context(), js, eventlog.LogStream)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range eventlog.Read(t.Context(), js, eventlog.ReadOptions{}) {
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

func BenchmarkCanonical(b *testing.B) {
	d := eventlog.Draft{
		Subject: eventlog.DesiredSubject("device-000001", "web"), Type: eventlog.DesiredAssigned, Time: at,
		CausationID: "01JDFA7Q6Z0000000000000000", Namespace: "shop", Revision: 7, Data: bytes.Repeat([]byte("x"), 450),
	}
	m := d.Message("operator", "01JDFA7Q6Z0000000000000000")
	e := eventlog.Event{Sequence: 1, Recorded: at, Subject: m.Subject, Header: m.Header, Data: m.Data}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendCanonical(buf[:0])
	}
}
