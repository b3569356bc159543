package command

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// The answer to command key holds an assertion, by which a token of the device can be
// got: an admin hears it, and no other person.
func TestCommandKeyIsAnsweredToAdminsAlone(t *testing.T) {
	t.Parallel()
	nc, _ := natstest.Start(t).Connect(t)
	asked := 0
	s, err := New(Options{Device: "pi-01", Bus: bus.Of(nc), Key: func(_ context.Context, user string, request []byte) eventlog.KeyAnswer {
		asked++
		return eventlog.KeyAnswer{DeviceID: "pi-01", KeyID: user + " asked " + string(request)}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ info, says string }{
		"an admin":    {`{"acc":"FLEET","user":"person-1","kind":"Client"}`, `"key_id":"person-1 asked x"`},
		"an operator": {`{"acc":"PEOPLE","user":"person-2","kind":"Client"}`, "command key is for admins"},
	} {
		answers, err := nc.SubscribeSync(nc.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		m := &nats.Msg{Subject: eventlog.DeviceCommandSubject("pi-01", eventlog.VerbKey), Reply: answers.Subject, Data: []byte("x"), Header: nats.Header{"Nats-Request-Info": {tc.info}}}
		commands, err := nc.SubscribeSync(m.Subject)
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		heardOne, err := commands.NextMsgWithContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = commands.Unsubscribe()
		released := make(chan struct{})
		s.take(t.Context(), heard{msg: heardOne, release: func() { close(released) }})
		<-released
		answer, err := answers.NextMsgWithContext(t.Context())
		if err != nil || !strings.Contains(string(answer.Data), tc.says) || !json.Valid(answer.Data) {
			t.Errorf("%s: %v, %s", name, err, answer.Data)
		}
	}
	if asked != 1 {
		t.Errorf("the key was asked for %d times", asked)
	}
}
