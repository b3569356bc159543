package accounts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/e2e/hostile"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/natstest"
)

// Permissions do not check headers, so a hostile device can hold batches open,
// claim the fence and burn message ids that it guesses. On three servers it may
// slow the leader; it neither stops nor deposes it, and no other device's report
// is lost.
func TestAHostileDeviceOnThreeServersStopsNoOtherDevice(t *testing.T) {
	t.Parallel()
	w := newCluster(t)
	nc, _ := w.as("operator")
	leader, err := appender.New(nc, appender.Options{Source: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := leader.Elect(t.Context(), eventlog.Leader{Identity: "leader"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}

	attack := hostile.Begin(mallory, token, func() *nats.Conn { return w.device(mallory) })
	defer attack.Stop()
	eventually(t, "all batches are held open", func() bool { return attack.Sent.Load() > 1000 && w.noBatchIsFree() })
	const rounds, each, reports = 6, 100, 80
	var reporting sync.WaitGroup
	reporting.Go(func() { w.report(reports) })
	for round := range rounds {
		drafts := make([]eventlog.Draft, each)
		for i := range drafts {
			drafts[i] = assigned(fmt.Sprintf("d%d-%d", round, i), "web")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*timeout)
		began := time.Now()
		_, err := leader.Append(ctx, drafts)
		cancel()
		if err != nil {
			t.Fatalf("round %d: the leader was stopped: %v", round, err)
		}
		t.Logf("round %d: %d fenced appends in %v, %d hostile messages so far", round, each, time.Since(began).Round(time.Millisecond), attack.Sent.Load())
	}
	reporting.Wait()
	attack.Stop()
	if leader.Token() != token {
		t.Errorf("the leader's token is %d, was %d: deposed", leader.Token(), token)
	}
	told := 0
	for subject, n := range w.logged() {
		a, err := eventlog.ParseSubject(subject)
		if err != nil {
			t.Errorf("the log has %s: %v", subject, err)
			continue
		}
		switch {
		case a.Family == eventlog.FamilyDesired:
			told++
			if n != 1 {
				t.Errorf("%s was said %d times", subject, n)
			}
		case a.Family == eventlog.FamilyState && a.Device == victim && n != reports:
			t.Errorf("the victim's log has %d reports, want %d", n, reports)
		case a.Device != victim && a.Device != mallory && a.Family != eventlog.FamilyLeader:
			t.Errorf("the log has %s", subject)
		}
	}
	if told != rounds*each {
		t.Errorf("%d devices were told, want %d", told, rounds*each)
	}
	eventually(t, "the bucket has all", func() bool { return len(w.subjects("KV_desired-state")) == rounds*each })
	t.Logf("%d hostile messages were sent meanwhile", attack.Sent.Load())
}

// noBatchIsFree says whether the log refuses to open another batch.
func (w *world) noBatchIsFree() bool {
	m := nats.NewMsg("fleet.evt.state.probe.web")
	m.Header.Set("Nats-Batch-Id", ulid.Make().String())
	m.Header.Set("Nats-Batch-Sequence", "1")
	answer, err := natstest.Request(w.nc, m, 2*time.Second)
	var refused struct {
		Error struct {
			Code int `json:"err_code"`
		}
	}
	const tooManyOpen = 10210
	return err == nil && json.Unmarshal(answer.Data, &refused) == nil && refused.Error.Code == tooManyOpen
}

// report reports for the victim as an agent does: an id each, again until it is
// acknowledged.
func (w *world) report(n int) {
	nc, _ := w.as(accounts.DeviceUser(victim), nats.CustomInboxPrefix(eventlog.InboxPrefix(victim)))
	for i := range n {
		m := nats.NewMsg("fleet.evt.state.victim.web")
		m.Header.Set(jetstream.MsgIDHeader, ulid.Make().String())
		m.Data = fmt.Appendf(nil, `{"device_id":"victim","deployment":"web","phase":"Running","revision":%d}`, i+1)
		for until := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) { // a refusal comes at once
			answer, err := natstest.Request(nc, m, 2*time.Second)
			var ack struct {
				Seq   uint64
				Error *struct{ Description string }
			}
			if err == nil && json.Unmarshal(answer.Data, &ack) == nil && ack.Seq > 0 && ack.Error == nil {
				break
			}
			if time.Now().After(until) {
				w.t.Errorf("report %d is lost: %v", i, err)
				return
			}
		}
	}
}
