package buckets_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/buckets"
)

// A bucket that has what the log does not say is found to have it, also over a
// connection that stalls while the bucket is read.
func TestADivergedBucketIsNotSoundOverAConnectionThatStalls(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	ensure(t, js)
	const n = 20
	report := func(device string) {
		publish(t, js, &nats.Msg{Subject: eventlog.StateSubject(device, "web"), Data: []byte(`{}`)})
	}
	for i := range n {
		report(fmt.Sprintf("before-%d", i))
	}
	catchUp(t, js, eventlog.BucketState)
	bucket, err := js.Stream(t.Context(), eventlog.BucketStream(eventlog.BucketState))
	if err != nil {
		t.Fatal(err)
	}
	config := bucket.CachedInfo().Config
	open := config
	open.Subjects = []string{eventlog.KVSubject(eventlog.BucketState, ">")}
	if _, err := js.UpdateStream(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	publish(t, js, &nats.Msg{Subject: eventlog.KVSubject(eventlog.BucketState, eventlog.StateKey("forged", "web")), Data: []byte(`{}`)})
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		report(fmt.Sprintf("after-%d", i))
	}
	catchUp(t, js, eventlog.BucketState)

	p := s.Proxy(t)
	_, slow := p.Connect(t)
	var stalled atomic.Bool
	p.Drop(func(subject string) bool {
		if strings.HasPrefix(subject, eventlog.KVSubject(eventlog.BucketState, "")) && !stalled.Swap(true) {
			p.Stall(4 * time.Second)
		}
		return false
	})
	if found, err := buckets.Check(t.Context(), slow, eventlog.BucketState); found != buckets.Diverged || err != nil {
		t.Errorf("check = %s, %v, want Diverged", found, err)
	}
	if !stalled.Load() {
		t.Error("the connection never stalled, and this test shows nothing")
	}
}
