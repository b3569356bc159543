package verify_test

import (
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/verify"
)

// A device with a client of its own can publish a header that no other client
// can read. It is a foreign message, and no more.
func TestAnUnreadableHeaderStopsNoVerification(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.story()
	w.server.Raw(t, eventlog.StateSubject("pi-01", "web"), "NATS/1.0\r\nno colon\r\n\r\n", "{}")
	w.server.Raw(t, eventlog.InfoSubject("pi-01"), "garbage", "{}")
	w.server.Raw(t, eventlog.StateSubject("pi-01", "b"), "NATS/1.0\r\nA: b\nNats-Stream-Source: FLEET 99999\r\n\r\n", "{}")
	w.server.Raw(t, eventlog.StateSubject("pi-01", "c"), "NATS/1.0\r\nA: b\nNats-Stream-Source: FLEET 1\n\n\r\n\r\n", "{}")
	w.server.Raw(t, eventlog.StateSubject("pi-01", "d"), "NATS/1.0\r\nFleet-N: a.1\r\n", "{}")
	w.server.Raw(t, eventlog.StateSubject("pi-01", "*"), "NATS/1.0\r\n\r\n", "{}")
	w.server.Raw(t, eventlog.StateSubject("pi-01", ">"), "NATS/1.0\r\n\r\n", "{}")
	wantKinds(t, w.verify(verify.Options{}), map[verify.Kind]uint64{verify.Foreign: 7})
	w.seal(w.key, nil)
	wantKinds(t, w.verify(verify.Options{}), map[verify.Kind]uint64{verify.Foreign: 7})
	w.ensure()
	if err := buckets.Rebuild(t.Context(), w.js, buckets.Config{}, eventlog.BucketState, nil); err != nil {
		t.Fatal(err)
	}
	wantKinds(t, w.verify(verify.Options{}), map[verify.Kind]uint64{verify.Foreign: 7})
}
