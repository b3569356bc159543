package eventlog_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
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
