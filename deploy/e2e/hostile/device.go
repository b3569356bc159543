// Package hostile plays a device of account DEVICES that has a valid identity
// and means harm, for tests.
package hostile

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// Deployment is what a hostile device reports of.
const Deployment = "web"

// Attack is a flood that is under way.
type Attack struct {
	Sent atomic.Int64 // messages so far

	cancel context.CancelFunc
	all    sync.WaitGroup
}

// burst is how many messages each connection sends before it waits for an answer
// to the last, and pace how long it rests then. So the flood is as fast as the
// servers are: more than they can take slows the machine, not the fleet.
const (
	burst = 20
	pace  = 2 * time.Millisecond
)

// Begin floods the log with the device's own reports until Stop. Permissions do
// not check headers, so it sets every one that could hurt: it holds open as many
// atomic batches as there may be, claims the leader's fence (which it may know),
// and a false one, burns message ids that can be guessed, and asks for rollups
// and expiry. connect gives a connection as the device for each kind.
func Begin(device string, fence uint64, connect func() *nats.Conn) *Attack {
	ctx, cancel := context.WithCancel(context.Background())
	a := &Attack{cancel: cancel}
	state := eventlog.StateSubject(device, Deployment)
	info := eventlog.KVSubject(eventlog.BucketInfo, eventlog.InfoKey(device))
	body := fmt.Appendf(nil, `{"device_id":%q,"deployment":%q,"phase":"Running","labels":{},"inventory":{}}`, device, Deployment)
	leader := func(expected string) nats.Header {
		return nats.Header{
			jetstream.ExpectedLastSubjSeqHeader:     {expected},
			jetstream.ExpectedLastSubjSeqSubjHeader: {eventlog.LeaderSubject},
		}
	}
	for _, kind := range []struct {
		subject string
		header  func(i int) nats.Header
	}{
		{state, func(i int) nats.Header {
			return nats.Header{"Nats-Batch-Id": {fmt.Sprintf("held-%d", i)}, "Nats-Batch-Sequence": {"1"}}
		}},
		{state, func(int) nats.Header { return leader(fmt.Sprint(fence)) }},
		{info, func(i int) nats.Header { return leader(fmt.Sprint(i)) }},
		{state, func(i int) nats.Header { return nats.Header{jetstream.MsgIDHeader: {fmt.Sprintf("victim/web/%d", i)}} }},
		{state, func(int) nats.Header {
			return nats.Header{jetstream.MsgRollup: {"all"}, "Nats-TTL": {"1s"}, jetstream.ExpectedStreamHeader: {eventlog.LogStream}}
		}},
	} {
		nc := connect()
		a.all.Go(func() {
			a.flood(ctx, nc, nats.Msg{Subject: kind.subject, Reply: eventlog.InboxPrefix(device) + ".x", Data: body}, kind.header)
		})
	}
	return a
}

func (a *Attack) flood(ctx context.Context, nc *nats.Conn, m nats.Msg, header func(i int) nats.Header) {
	for i := 0; ctx.Err() == nil; i++ {
		m.Header = header(i)
		a.Sent.Add(1)
		if i%burst != burst-1 {
			_ = nc.PublishMsg(&m) // taken or not: the next one follows
			continue
		}
		last := m
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		_, _ = nc.RequestMsgWithContext(bounded, &last)
		cancel()
		select {
		case <-time.After(pace):
		case <-ctx.Done():
		}
	}
}

// Stop ends the attack and waits for its end.
func (a *Attack) Stop() {
	a.cancel()
	a.all.Wait()
}
