package accounts_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// A viewer or an operator reads no session of the dashboard, makes none and ends none.
func TestAPersonDoesNotReachTheDashboardsSessions(t *testing.T) {
	t.Parallel()
	w := newIdentities(t)
	stream := eventlog.BucketStream(eventlog.BucketSessions)
	subject := eventlog.KVSubject(eventlog.BucketSessions, "id")
	_, err := w.js.CreateStream(soon(t), jetstream.StreamConfig{
		Name: stream, Subjects: []string{eventlog.KVSubject(eventlog.BucketSessions, ">")}, Storage: jetstream.MemoryStorage, MaxMsgsPerSubject: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.Publish(soon(t), subject, []byte("sealed")); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"viewer", "operator"} {
		nc := w.by(w.provider.Person("17", role), "person-17", nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		for _, api := range []string{
			eventlog.MessageGetAPI(stream), eventlog.PeopleMessageGetAPI(stream), eventlog.DirectGetAPI(stream, subject), "$JS.API.DIRECT.GET." + stream,
			"$JS.API.STREAM.PURGE." + stream, eventlog.StreamDeleteAPI(stream), "$JS.API.CONSUMER.CREATE." + stream, subject,
		} {
			m, err := nc.Request(api, []byte(`{"last_by_subj":"`+subject+`"}`), 200*time.Millisecond)
			if !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("a %s is answered on %s: %v, %+v", role, api, err, m)
			}
		}
	}
	s, err := w.js.Stream(soon(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.GetLastMsgForSubject(soon(t), subject); err != nil || string(m.Data) != "sealed" {
		t.Errorf("the session is %v, %v", m, err)
	}
}
