package appender_test

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
	p := delivery{3, natstest.Cluster(t, 3).Connect}
	js := p.log(t)
	a := p.appender(t)
	token := elect(t, a, "a")
	hostile, _ := p.connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sent, refused atomic.Int64
	inbox := hostile.NewInbox()
	if _, err := hostile.Subscribe(inbox, func(*nats.Msg) { refused.Add(1) }); err != nil {
		t.Fatal(err)
	}
	var flood sync.WaitGroup
	flood.Go(func() {
		// As dense as the servers can refuse: some thousands always wait for their
		// turn, on a quick machine as on a slow one.
		const waiting = 4000
		for ctx.Err() == nil {
			if sent.Load()-refused.Load() > waiting {
				time.Sleep(50 * time.Microsecond) // poll
				continue
			}
			m := &nats.Msg{
				Subject: eventlog.StateSubject("evil", "web"), Reply: inbox, Data: []byte(`{"device_id":"evil","deployment":"web","phase":"Running"}`),
				Header: nats.Header{
					"Nats-Expected-Last-Subject-Sequence":         {fmt.Sprint(token)},
					"Nats-Expected-Last-Subject-Sequence-Subject": {eventlog.LeaderSubject},
				},
			}
			if err := hostile.PublishMsg(m); err != nil {
				return // cut off for being too fast is as good
			}
			sent.Add(1)
		}
	})
	for deadline := time.Now().Add(2 * time.Minute); sent.Load() < 20_000; { // the flood is to stand before the leader speaks
		if time.Now().After(deadline) {
			t.Fatalf("the flood does not stand: %d claims, %d refused", sent.Load(), refused.Load())
		}
		time.Sleep(time.Millisecond) // poll
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
