package accounts_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// The server does not check the reply subject of a publish, so a device can aim
// the acknowledgement of its own report anywhere. In account DEVICES it reaches
// neither log nor pulse nor bucket, and what reaches the victim bears nothing of
// what an agent believes by.
func TestAForgedReplySubjectChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(assigned(victim, "web"))
	w.append(assigned(mallory, "web"))
	eventually(t, "the bucket has both", func() bool { return len(w.subjects("KV_desired-state")) == 2 })
	bad := w.device(mallory)
	good := w.device(victim)

	// A sync service as the operator's: it answers with the nonce it was asked with.
	if _, err := w.nc.QueueSubscribe(eventlog.SyncSubject(eventlog.Wildcard), "operator", func(m *nats.Msg) {
		for range 2 {
			a := nats.NewMsg(m.Reply)
			a.Header.Set(eventlog.HeaderSync, m.Header.Get(eventlog.HeaderSync))
			_ = w.nc.PublishMsg(a)
		}
	}); err != nil {
		t.Fatal(err)
	}
	heard := make(chan *nats.Msg, 4096)
	inbox := good.NewInbox()
	for _, s := range []string{"fleet.live.desired.victim.*", "device-commands.victim.*", "_INBOX.victim.>"} {
		sub, err := good.ChanSubscribe(s, heard)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	for _, nc := range []*nats.Conn{w.nc, good} {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	logged, pulses := w.logged(), w.subjects(eventlog.PulseStream)
	buckets := map[string]map[string]uint64{}
	for _, b := range eventlog.Buckets() {
		buckets[b] = w.subjects(eventlog.BucketStream(b))
	}

	asked := []string{
		"fleet.evt.state.mallory.web", "fleet.evt.info.mallory", "fleet.evt.agent.mallory", "fleet.pulse.mallory",
		"$KV.device-state.state.mallory.web", "fleet.sync.mallory",
	}
	aims := []string{
		"fleet.evt.desired.victim.web", "fleet.evt.state.victim.web", "fleet.evt.info.victim", "fleet.evt.agent.victim",
		"fleet.evt.leader", "fleet.evt.deployment.default.web", "fleet.evt.request.alice.default.web", "fleet.evt.access.victim",
		"fleet.evt.command.victim", "fleet.pulse.victim", "fleet.sync.victim",
		"$KV.desired-state.victim.web", "$KV.device-state.state.victim.web", "$KV.device-info.info.victim",
		"$KV.device-heartbeat.heartbeat.victim", "$JS.API.STREAM.DELETE.KV_device-state", "$JS.API.STREAM.PURGE.PULSE",
		"fleet.live.desired.victim.x", "device-commands.victim.exec", inbox, "_INBOX.victim.guess",
	}
	sent := map[string]uint64{}
	for i, subject := range asked {
		for j, reply := range aims {
			m := nats.NewMsg(subject)
			m.Reply = reply
			m.Data = []byte(`{"device_id":"mallory"}`)
			// All the headers that an agent believes by, forged.
			m.Header.Set(eventlog.HeaderSync, fmt.Sprintf("guess-%d-%d", i, j))
			m.Header.Set(eventlog.HeaderSubject, "$KV.desired-state.victim.x")
			m.Header.Set(eventlog.HeaderRequestInfo, `{"acc":"FLEET","user":"operator"}`)
			if err := bad.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			sent[subject]++
			m.Header.Set(eventlog.HeaderStreamSource, "FLEET 9999") // the log refuses this one
			if err := bad.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := bad.Flush(); err != nil {
		t.Fatal(err)
	}

	// The log has the reports themselves, and nothing else.
	want := map[string]uint64{
		"fleet.evt.state.mallory.web": sent["fleet.evt.state.mallory.web"] + sent["$KV.device-state.state.mallory.web"],
		"fleet.evt.info.mallory":      sent["fleet.evt.info.mallory"],
		"fleet.evt.agent.mallory":     sent["fleet.evt.agent.mallory"],
	}
	for s, n := range logged {
		want[s] = n
	}
	eventually(t, "the reports are in the log", func() bool {
		got := w.logged()
		for s, n := range want {
			if got[s] < n {
				return false
			}
		}
		return true
	})
	buckets["device-state"] = map[string]uint64{"$KV.device-state.state.mallory.web": 1}
	buckets["device-info"] = map[string]uint64{"$KV.device-info.info.mallory": 1}
	buckets["device-heartbeat"] = map[string]uint64{"$KV.device-heartbeat.heartbeat.mallory": 1}
	eventually(t, "the buckets have followed the log", func() bool {
		for b, want := range buckets {
			if len(w.subjects(eventlog.BucketStream(b))) < len(want) {
				return false
			}
		}
		return true
	})
	eventually(t, "the victim hears something: else the test proves nothing", func() bool { return len(heard) > 0 })
	if err := good.Flush(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // what could still go wrong has that long
	if diff := cmp.Diff(want, w.logged()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	pulses["fleet.pulse.mallory"] = 1
	if diff := cmp.Diff(pulses, w.subjects(eventlog.PulseStream)); diff != "" {
		t.Errorf("pulses (-want +got):\n%s", diff)
	}
	for _, b := range eventlog.Buckets() {
		if diff := cmp.Diff(buckets[b], w.subjects(eventlog.BucketStream(b)), cmp.Transformer("", func(m map[string]uint64) map[string]uint64 {
			if m == nil {
				return map[string]uint64{}
			}
			return m
		})); diff != "" {
			t.Errorf("bucket %s (-want +got):\n%s", b, diff)
		}
	}

	// The victim hears acknowledgements and answers, and can believe none.
	n := len(heard)
	for range n {
		m := <-heard
		_, _, sourced := eventlog.SourceOf(m.Header)
		live := m.Header.Get(eventlog.HeaderSync) == "" && m.Header.Get(eventlog.HeaderSubject) != "" && sourced
		command := m.Reply != "" || m.Header.Get(eventlog.HeaderRequestInfo) != ""
		if live || command || m.Header.Get(eventlog.HeaderSubject) != "" || sourced {
			t.Errorf("on %s, reply %q: the victim would believe header %v", m.Subject, m.Reply, m.Header)
		}
	}
	t.Logf("%d aimed answers reached the victim, none believable", n)
}
