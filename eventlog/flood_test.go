package eventlog_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// On a replicated stream only one message that claims the fence may be in
// flight. A device that sends such claims as fast as it can, without waiting for
// any answer, takes nearly every turn; the leader presses, and gets through.
func TestAFloodOfClaimsToTheFenceDoesNotStopTheLeader(t *testing.T) {
	t.Parallel()
	p := place{3, natstest.Cluster(t, 3).Connect}
	js := p.log(t)
	a := p.appender(t)
	token := elect(t, a, "a")
	hostile, _ := p.connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sent atomic.Int64
	var flood sync.WaitGroup
	flood.Go(func() {
		for ; ctx.Err() == nil; sent.Add(1) {
			m := &nats.Msg{
				Subject: eventlog.StateSubject("evil", "web"), Data: []byte(`{"device_id":"evil","deployment":"web","phase":"Running"}`),
				Header: nats.Header{
					"Nats-Expected-Last-Subject-Sequence":         {fmt.Sprint(token)},
					"Nats-Expected-Last-Subject-Sequence-Subject": {eventlog.LeaderSubject},
				},
			}
			if err := hostile.PublishMsg(m); err != nil {
				return // cut off for being too fast is as good
			}
		}
	})
	for sent.Load() < 20_000 && ctx.Err() == nil {
		time.Sleep(time.Millisecond) // poll: the flood is to stand before the leader speaks
	}
	before, begun := sent.Load(), time.Now()
	for round := range 3 {
		bounded, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		_, err := a.Append(bounded, assignments(20))
		stop()
		if err != nil {
			t.Fatalf("round %d: the leader's append: %v", round, err)
		}
	}
	took := time.Since(begun)
	cancel()
	flood.Wait()
	t.Logf("60 appends in %.1f s beside %d claims", took.Seconds(), sent.Load()-before)
	for device, n := range countBySubject(t, js, eventlog.FamilyDesired) {
		if n != 3 {
			t.Errorf("%s was told %d times, want 3", device, n)
		}
	}
}
