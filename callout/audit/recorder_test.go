package audit_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/callout/audit"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

func run(t *testing.T, js jetstream.JetStream) (r *audit.Recorder, stop func()) {
	t.Helper()
	r = audit.New(audit.Options{JetStream: js, Secret: []byte("shared by replicas")})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return r, stop
}

func grant(device, digest string) audit.Grant {
	return audit.Grant{Subject: device, Auth: eventlog.Auth{Subject: device, Actor: "device-" + device, Grant: digest}}
}

// lines gives what the log has of logins.
func lines(t *testing.T, js jetstream.JetStream) (got []string) {
	t.Helper()
	for e, err := range reader.Read(t.Context(), js, reader.Options{Subjects: []string{eventlog.FamilySubjects(eventlog.FamilyAuth)}}) {
		if err == nil {
			err = eventlog.Check(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := eventlog.Payload[eventlog.Auth](e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ulid.ParseStrict(e.ID); err != nil {
			t.Errorf("id %q: %v", e.ID, err)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %d", e.Address.Device, e.Type, a.Grant, a.Reason, a.Count))
	}
	return got
}

func await(t *testing.T, js jetstream.JetStream, n int) []string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if got := lines(t, js); len(got) >= n || time.Now().After(deadline) {
			return got
		}
	}
}

// followed waits until replicas know that the log has a grant.
func followed(t *testing.T, device, digest string, replicas ...*audit.Recorder) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, r := range replicas {
		for r.Known(device) != digest {
			if time.Now().After(deadline) {
				t.Fatalf("of %s a replica knows %q, want %q", device, r.Known(device), digest)
			}
			time.Sleep(5 * time.Millisecond) // poll
		}
	}
}

func TestTwoReplicasRecordOneGrantOnce(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	a, stopA := run(t, js)
	b, stopB := run(t, js)
	const devices = 300
	for round, digest := range []string{"d1", "d2", "d1"} {
		var both sync.WaitGroup
		for _, r := range []*audit.Recorder{a, b} {
			both.Go(func() {
				for i := range devices {
					r.Granted(grant(fmt.Sprintf("pi-%d", i), digest))
					r.Granted(grant(fmt.Sprintf("pi-%d", i), digest))
				}
			})
		}
		both.Wait()
		if got := await(t, js, (round+1)*devices); len(got) != (round+1)*devices {
			t.Fatalf("round %d: %d events, want %d", round, len(got), (round+1)*devices)
		}
		for i := range devices { // both have followed what the other one wrote
			followed(t, fmt.Sprintf("pi-%d", i), digest, a, b)
		}
	}
	stopA()
	stopB()
	if got := lines(t, js); len(got) != 3*devices {
		t.Errorf("%d events, want %d", len(got), 3*devices)
	}
}

func TestDenialsAreCountedAndBounded(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	r, stop := run(t, js)
	r.Granted(grant("pi-01", "d1"))
	await(t, js, 1)
	denied := func(subject string, reason refusal.Reason) {
		r.Denied(audit.Denial{Subject: subject, Reason: reason, Message: "no"})
	}
	for range 5 {
		denied("pi-01", refusal.Expired)
		denied(eventlog.AuthUnknown, refusal.BadSignature)
	}
	for i := range 1000 {
		denied(fmt.Sprintf("flood-%d", i), refusal.AccessRevoked)
	}
	stop()
	got := lines(t, js)
	if len(got) > 300 {
		t.Fatalf("%d events for a thousand identities that were refused", len(got))
	}
	total := map[string]int{}
	for _, l := range got {
		var subject, typ, digest, reason string
		var n int
		if _, err := fmt.Sscan(l, &subject, &typ, &digest, &reason, &n); err != nil { // a denial of nobody has no digest
			digest = ""
			if _, err := fmt.Sscan(l, &subject, &typ, &reason, &n); err != nil {
				t.Fatal(l, err)
			}
		}
		if typ == string(eventlog.AuthDenied) {
			total[reason] += n
		}
	}
	if diff := cmp.Diff(map[string]int{"Expired": 5, "BadSignature": 5, "AccessRevoked": 1000}, total); diff != "" {
		t.Errorf("denials by reason (-want +got):\n%s", diff)
	}
}

// Nobody who does not know the replicas' secret can burn the id of an event before
// it is written.
func TestTheIDOfAGrantCannotBeGuessed(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for _, secret := range []string{"one", "another"} {
		_, js := natstest.Start(t).Connect(t)
		natstest.EnsureLog(t, js, 1)
		r := audit.New(audit.Options{JetStream: js, Secret: []byte(secret)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = r.Run(ctx) }()
		r.Granted(grant("pi-01", "d1"))
		await(t, js, 1)
		cancel()
		<-ended
		for e, err := range reader.Read(t.Context(), js, reader.Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			ids[e.ID] = true
		}
	}
	if len(ids) != 2 {
		t.Errorf("two secrets make %d ids", len(ids))
	}
}
