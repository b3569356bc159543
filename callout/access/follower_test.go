package access_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/callout/access"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// clock is the machine's, and some time later as the test says.
type clock struct{ later atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.later.Load())) }

func follow(t *testing.T, js jetstream.JetStream) (*access.Follower, *clock) {
	t.Helper()
	c := &clock{}
	f := access.NewFollower(access.FollowerOptions{JetStream: js, Now: c.now})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return f, c
}

func say(t *testing.T, js jetstream.JetStream, device string, typ eventlog.Type) {
	t.Helper()
	d, err := eventlog.NewDraft(eventlog.AccessSubject(device), typ, time.Now(), eventlog.Access{Reason: "Test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), d.Message("test", nats.NewInbox())); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for Allowed to give a reason, or none.
func eventually(t *testing.T, f *access.Follower, device string, want refusal.Reason) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := f.Allowed(device)
		if want == "" && err == nil || want != "" && refusal.Is(err, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v, want %q", device, err, want)
		}
	}
}

func TestTheLastEventOfAnIdentityDecides(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	say(t, js, "pi-01", eventlog.AccessRevoked)
	say(t, js, "pi-02", eventlog.AccessRevoked)
	say(t, js, "pi-02", eventlog.AccessAllowed)
	f, _ := follow(t, js)
	eventually(t, f, "pi-03", "")
	for device, want := range map[string]refusal.Reason{"pi-01": refusal.AccessRevoked, "pi-02": ""} {
		eventually(t, f, device, want)
	}
	say(t, js, "pi-01", eventlog.AccessAllowed)
	eventually(t, f, "pi-01", "")
	say(t, js, "pi-02", eventlog.AccessRevoked)
	eventually(t, f, "pi-02", refusal.AccessRevoked)
	// What is no event changes nothing.
	if _, err := js.Publish(t.Context(), eventlog.AccessSubject("pi-02"), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	say(t, js, "pi-09", eventlog.AccessRevoked)
	eventually(t, f, "pi-09", refusal.AccessRevoked)
	eventually(t, f, "pi-02", refusal.AccessRevoked)
}

func TestAReplicaGoesOnForAnHourWithoutTheLog(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	say(t, js, "pi-09", eventlog.AccessRevoked)
	f, c := follow(t, js)
	eventually(t, f, "pi-01", "")
	if err := js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // the follower notices
	c.later.Store(int64(access.DefaultGrace - 5*time.Minute))
	if err := f.Allowed("pi-01"); err != nil || !f.Ready() {
		t.Errorf("within the hour: %v", err)
	}
	if err := f.Allowed("pi-09"); !refusal.Is(err, refusal.AccessRevoked) {
		t.Errorf("revoked before the log was lost: %v", err)
	}
	c.later.Store(int64(access.DefaultGrace + time.Minute))
	eventually(t, f, "pi-01", refusal.AccessUnknown)
	if f.Ready() {
		t.Error("past the hour it takes requests")
	}
	// A log that was made again forgets revocations: docs/identity.md says so.
	natstest.EnsureLog(t, js, 1)
	eventually(t, f, "pi-09", "")
}

func TestAFollowerThatNeverReadTheLogLetsNobodyIn(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	f, _ := follow(t, js)
	time.Sleep(1500 * time.Millisecond) // it asks, and is not told
	if err := f.Allowed("pi-01"); !refusal.Is(err, refusal.AccessUnknown) || f.Ready() {
		t.Errorf("without a log: %v", err)
	}
	natstest.EnsureLog(t, js, 1)
	eventually(t, f, "pi-01", "")
}
