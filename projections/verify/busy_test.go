package verify_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/verify"
)

// The log goes on while it is verified, on keys that are old, new and always the
// same one: nothing differs.
func TestALogThatGoesOnAgrees(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.story()
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	for i, subject := range []func(n int) string{
		func(n int) string { return eventlog.StateSubject(fmt.Sprintf("pi-%d", n%500), "web") },
		func(n int) string { return eventlog.InfoSubject(fmt.Sprintf("pi-%d", n)) },
		func(int) string { return eventlog.DesiredSubject("pi-01", "web") },
		func(n int) string { return eventlog.PulseSubject(fmt.Sprintf("pi-%d", n%100)) },
	} {
		_, js := w.server.Connect(t)
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				// Foreign or not is all the same to a bucket.
				if _, err := js.Publish(ctx, subject(n), fmt.Append(nil, i, n)); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	began, again := time.Now(), 0
	for rounds := 0; rounds < 3 && time.Since(began) < 10*time.Second || again == 0; rounds++ {
		r, err := verify.Run(w.Context(), w.js, verify.Options{Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if n := r.Differences(); n != 0 {
			t.Fatalf("%d differences: %+v", n, r.Findings)
		}
		for _, b := range r.Buckets {
			again += b.Again
		}
		if again == 0 && time.Since(began) > time.Minute {
			t.Fatal("no key ever changed while it was compared: this test shows nothing")
		}
	}
}

// Headers that a writer may choose, and that the server reads or writes itself.
func TestHeadersThatTheServerTouchesAreNoDifference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, h := range map[string]nats.Header{
		"pi-01": {jetstream.ExpectedStreamHeader: {eventlog.LogStream}, "X": {"kept"}},
		"pi-02": {"Nats-Sequence": {"abc"}, "Nats-Subject": {"forged"}, "Nats-Time-Stamp": {"never"}},
		"pi-03": {"nats-stream-source": {"FLEET 99"}, "Nats-Pending-Messages": {"9"}, "Status": {"404"}},
		"pi-04": {jetstream.MsgIDHeader: {"1"}, "Empty": {""}, "Twice": {"b", "a"}},
	} {
		w.publish(&nats.Msg{Subject: eventlog.InfoSubject(name), Header: h, Data: fmt.Appendf(nil, `{"device_id":%q}`, name)})
	}
	wantKinds(t, w.verify(verify.Options{}), map[verify.Kind]uint64{verify.Foreign: 1}) // it looks like a copy
	w.ensure()                                                                          // and none of them stops the operator
}
