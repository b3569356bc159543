package session_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/agent/bus/bustest"
	"fleet.nationtech.io/agent/command"
	"fleet.nationtech.io/agent/reject"
	"fleet.nationtech.io/agent/session"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/buckets"
)

// twoAccounts has what crosses between the accounts, and two devices with the
// permissions of devices; deploy/accounts has the whole of it.
const twoAccounts = `
accounts {
  FLEET {
    jetstream: enabled
    users: [{ user: fleet, password: x }]
    exports: [
      { service: "fleet.evt.state.*.*", accounts: [DEVICES] }
      { service: "fleet.sync.*", accounts: [DEVICES], response_type: Stream }
      { stream: "fleet.live.desired.*.*", accounts: [DEVICES] }
    ]
    imports: [{ service: { account: DEVICES, subject: "device-commands.>" }, share: true }]
  }
  DEVICES {
    users: [
      { user: pi-01, password: x, permissions: {
        publish: { allow: ["fleet.evt.state.pi-01.*", "fleet.sync.pi-01"] }
        subscribe: { allow: ["fleet.live.desired.pi-01.*", "device-commands.pi-01.*", "_INBOX.pi-01.>"] }
        allow_responses: { max: -1, ttl: "1h" } } }
      { user: pi-02, password: x, permissions: {
        publish: { allow: ["fleet.evt.state.pi-02.*", "fleet.sync.pi-02"] }
        subscribe: { allow: ["fleet.live.desired.pi-02.*", "device-commands.pi-02.*", "_INBOX.pi-02.>"] }
        allow_responses: { max: -1, ttl: "1h" } } }
    ]
    imports: [
      { service: { account: FLEET, subject: "fleet.evt.state.*.*" } }
      { service: { account: FLEET, subject: "fleet.sync.*" } }
      { stream: { account: FLEET, subject: "fleet.live.desired.*.*" } }
    ]
    exports: [{ service: "device-commands.>", accounts: [FLEET], response_type: Stream }]
  }
}`

// TestAnswersAimedAtAVictimChangeNothing is the guarantee of what a session and
// a command believe, on a server with the accounts: pi-02 aims the answers to
// its own reports and questions at every subject that pi-01 listens to.
func TestAnswersAimedAtAVictimChangeNothing(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Config(t, twoAccounts))
	fleet, js := server.Connect(t, nats.UserInfo("fleet", "x"))
	if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err := buckets.Ensure(t.Context(), js, buckets.Config{}); err != nil {
		t.Fatal(err)
	}
	// The operator answers anyone who asks with one value of the asker's.
	if _, err := fleet.Subscribe(eventlog.SyncSubject(eventlog.Wildcard), func(q *nats.Msg) {
		asker, _ := eventlog.DeviceOfSync(q.Subject)
		answerSync(t, fleet, q, asker)
	}); err != nil {
		t.Fatal(err)
	}
	victim, _ := server.Connect(t, nats.UserInfo(device, "x"), nats.CustomInboxPrefix(eventlog.InboxPrefix(device)))
	hostile, _ := server.Connect(t, nats.UserInfo("pi-02", "x"), nats.CustomInboxPrefix(eventlog.InboxPrefix("pi-02")))
	s := start(t, victim, session.Options{})
	await(t, "the victim's answer", s.has("web", "{5}"))

	registry := prometheus.NewRegistry()
	rejected, err := reject.New(nil, registry)
	if err != nil {
		t.Fatal(err)
	}
	resyncs := make(chan struct{}, 10)
	commands, err := command.New(command.Options{
		Device: device, Version: "1", Bus: bustest.Of(t, victim), Rejected: rejected, Resync: func() { resyncs <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- commands.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var pong command.Pong
	await(t, "a ping", func() bool {
		m, err := fleet.Request(eventlog.DeviceCommandSubject(device, eventlog.VerbPing), nil, time.Second)
		return err == nil && json.Unmarshal(m.Data, &pong) == nil
	})
	if pong.DeviceID != device || pong.AgentVersion != "1" {
		t.Errorf("pong %+v", pong)
	}

	for _, subject := range []string{
		eventlog.StateSubject("pi-02", "web"), // a report: its acknowledgement
		eventlog.SyncSubject("pi-02"),         // a question: a value and an end
	} {
		for _, aim := range []string{
			eventlog.LiveSubject(device, "web"), eventlog.LiveSubject(device, "other"),
			eventlog.DeviceCommandSubject(device, eventlog.VerbSync), eventlog.DeviceCommandSubject(device, eventlog.VerbExec),
		} {
			m := nats.NewMsg(subject)
			m.Reply, m.Data = aim, []byte(`{"device_id":"pi-02","deployment":"web","phase":"Running"}`)
			for k, v := range map[string]string{
				eventlog.HeaderSubject:      eventlog.KVSubject(eventlog.BucketDesired, eventlog.DesiredKey(device, "web")),
				eventlog.HeaderStreamSource: "FLEET 99", eventlog.HeaderRequestInfo: `{"acc":"FLEET","user":"root"}`,
				eventlog.HeaderSync: "n", eventlog.HeaderKVOperation: "DEL",
			} {
				m.Header.Set(k, v)
			}
			if subject == eventlog.SyncSubject("pi-02") {
				m.Data = nil
			}
			if err := hostile.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := hostile.Flush(); err != nil {
		t.Fatal(err)
	}
	counted := func(r *prometheus.Registry, reasons int) func() bool {
		return func() bool {
			n, err := testutil.GatherAndCount(r, "fleet_agent_messages_rejected_total")
			return err == nil && n >= reasons
		}
	}
	await(t, "both kinds refused on the live subjects", counted(s.registry, 2))
	await(t, "those on the command subjects refused", counted(registry, 1))

	// The log's own word still comes through, and nothing else did.
	if _, err := appender.Unfenced(t.Context(), js, "test", eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, "next"), Type: eventlog.DesiredAssigned, Time: time.Now(), Data: []byte(`{"type":"PodmanV0"}`),
	}); err != nil {
		t.Fatal(err)
	}
	await(t, "a live value", s.has("next", `{"type":"PodmanV0"}`))
	if got := s.store.of("web"); string(got.Value) != "{5}" || got.Withdrawn {
		t.Errorf("the victim's desired state is %+v", got)
	}
	if got := s.store.of("other"); got.Sequence != 0 {
		t.Errorf("the victim learned %+v", got)
	}
	if len(resyncs) != 0 {
		t.Error("the victim obeyed")
	}
	var failure command.Failure
	m, err := fleet.Request(eventlog.DeviceCommandSubject(device, "reboot"), nil, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(m.Data, &failure); err != nil || failure.Error == "" {
		t.Errorf("an unknown verb is answered %s", m.Data)
	}
	if _, err := fleet.Request(eventlog.DeviceCommandSubject(device, eventlog.VerbSync), nil, 30*time.Second); err != nil || len(resyncs) != 1 {
		t.Errorf("sync: %v, %d times", err, len(resyncs))
	}
}

func answerSync(t *testing.T, nc *nats.Conn, q *nats.Msg, asker string) {
	o := &operator{t: t, nc: nc}
	value := nats.NewMsg(q.Reply)
	value.Data = []byte("{5}")
	value.Header.Set(eventlog.HeaderSync, q.Header.Get(eventlog.HeaderSync))
	value.Header.Set(eventlog.HeaderKey, eventlog.DesiredKey(asker, "web"))
	value.Header.Set(eventlog.HeaderStreamSource, "FLEET 5")
	o.publish(value)
	o.end(q, "A", 5, 1)
}
