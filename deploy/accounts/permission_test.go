package accounts_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
)

// A device can do none of what the contract does not list. The subjects stand
// here as literals: they are the contract's.
func TestADeviceMayDoNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	publish := map[string]string{
		"report another's state":                   "fleet.evt.state.victim.web",
		"report another's info":                    "fleet.evt.info.victim",
		"write another's journal":                  "fleet.evt.agent.victim",
		"report a state with a token too many":     "fleet.evt.state.mallory.web.x",
		"report a state with a token too few":      "fleet.evt.state.mallory",
		"pulse for another":                        "fleet.pulse.victim",
		"ask another's desired state":              "fleet.sync.victim",
		"assign itself something":                  "fleet.evt.desired.mallory.web",
		"assign another something":                 "fleet.evt.desired.victim.web",
		"elect a leader":                           "fleet.evt.leader",
		"speak as the operator of a Deployment":    "fleet.evt.deployment.default.web",
		"speak as the operator of itself":          "fleet.evt.device.mallory",
		"write the audit of commands":              "fleet.evt.command.mallory",
		"request in a person's name":               "fleet.evt.request.alice.default.web",
		"request in its own name":                  "fleet.evt.request.mallory.default.web",
		"decommission another in a person's name":  "fleet.evt.request.alice.victim",
		"decommission another in its own name":     "fleet.evt.request.mallory.victim",
		"decommission itself":                      "fleet.evt.request.mallory.mallory",
		"speak as the operator of another":         "fleet.evt.device.victim",
		"write the callout's record":               "fleet.evt.auth.mallory",
		"allow itself access":                      "fleet.evt.access.mallory",
		"allow another access":                     "fleet.evt.access.victim",
		"seal the log":                             "fleet.evt.seal",
		"put its desired state by KV":              "$KV.desired-state.mallory.web",
		"put another's state by KV":                "$KV.device-state.state.victim.web",
		"put another's info by KV":                 "$KV.device-info.info.victim",
		"put another's heartbeat by KV":            "$KV.device-heartbeat.heartbeat.victim",
		"ask JetStream about the account":          "$JS.API.INFO",
		"ask about the log":                        "$JS.API.STREAM.INFO.FLEET",
		"make a stream":                            "$JS.API.STREAM.CREATE.MINE",
		"delete the log":                           "$JS.API.STREAM.DELETE.FLEET",
		"make a consumer":                          "$JS.API.CONSUMER.CREATE.KV_desired-state.x.$KV.desired-state.mallory.>",
		"read a bucket directly":                   "$JS.API.DIRECT.GET.KV_desired-state.$KV.desired-state.victim.web",
		"command another":                          "device-commands.victim.exec",
		"command itself":                           "device-commands.mallory.exec",
		"write into another's inbox":               "_INBOX.victim.abc",
		"write into its own inbox":                 "_INBOX.mallory.abc",
		"write into a default inbox":               "_INBOX.abc",
		"say that something is desired of another": "fleet.live.desired.victim.web",
		"say that something is desired of itself":  "fleet.live.desired.mallory.web",
		"ask the system":                           "$SYS.REQ.SERVER.PING",
		"answer a service import that it guesses":  "_R_.abc.def",
		"publish anywhere":                         "anything",
	}
	subscribe := map[string]string{
		"hear everything":                 ">",
		"hear all of the fleet":           "fleet.>",
		"hear the log":                    "fleet.evt.>",
		"hear others' reports":            "fleet.evt.state.*.*",
		"hear its own reports":            "fleet.evt.state.mallory.*",
		"hear the pulse":                  "fleet.pulse.*",
		"answer syncs":                    "fleet.sync.*",
		"answer its own sync":             "fleet.sync.mallory",
		"hear what is desired of all":     "fleet.live.desired.*.*",
		"hear what is desired of another": "fleet.live.desired.victim.*",
		"hear all commands":               "device-commands.>",
		"hear another's commands":         "device-commands.victim.*",
		"hear all inboxes":                "_INBOX.>",
		"hear another's inbox":            "_INBOX.victim.>",
		"hear answers to others":          "_R_.>",
		"hear the buckets":                "$KV.>",
		"hear JetStream":                  "$JS.>",
		"hear the system":                 "$SYS.>",
	}
	before := w.logged()
	for name, subject := range publish {
		t.Run("publish: "+name, func(t *testing.T) {
			var v violations
			nc := w.device(mallory, v.option())
			m := nats.NewMsg(subject)
			m.Data = []byte(`{}`)
			m.Reply = nc.NewRespInbox()
			if err := nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the server refuses to publish to "+subject, func() bool {
				return nc.Flush() == nil && v.of("publish", mapped(subject))
			})
		})
	}
	for name, subject := range subscribe {
		t.Run("subscribe: "+name, func(t *testing.T) {
			var v violations
			nc := w.device(mallory, v.option())
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the server refuses to subscribe to "+subject, func() bool {
				return nc.Flush() == nil && v.of("subscription", subject)
			})
		})
	}
	for subject, n := range w.logged() {
		if before[subject] != n {
			t.Errorf("the log has %d messages on %s, had %d", n, subject, before[subject])
		}
	}
}

// mapped is the subject that the server checks: permissions come after mappings.
func mapped(subject string) string {
	switch subject {
	case "$KV.device-state.state.victim.web":
		return "fleet.evt.state.victim.web"
	case "$KV.device-info.info.victim":
		return "fleet.evt.info.victim"
	case "$KV.device-heartbeat.heartbeat.victim":
		return "fleet.pulse.victim"
	}
	return subject
}

func TestADeviceMayDoWhatTheContractLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, user := range []struct{ name, id string }{{accounts.DeviceUser(victim), victim}, {"lab", "lab-device"}} {
		t.Run(user.name, func(t *testing.T) {
			id := user.id
			nc, _ := w.as(user.name, nats.CustomInboxPrefix(eventlog.InboxPrefix(id)))
			for _, subject := range []string{
				"fleet.evt.state." + id + ".web", "fleet.evt.info." + id, "fleet.evt.agent." + id, "fleet.pulse." + id,
				"$KV.device-state.state." + id + ".web", "$KV.device-info.info." + id, "$KV.device-heartbeat.heartbeat." + id,
			} {
				m, err := nc.Request(subject, []byte(`{}`), timeout)
				if err != nil {
					t.Fatalf("%s: %v", subject, err)
				}
				var ack struct {
					Stream string
					Seq    uint64
				}
				if err := json.Unmarshal(m.Data, &ack); err != nil || ack.Seq == 0 {
					t.Errorf("%s: answered %q, want an acknowledgement", subject, m.Data)
				}
			}

			live, err := nc.SubscribeSync("fleet.live.desired." + id + ".*")
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			seq := w.append(assigned(id, "web"))
			w.append(assigned("another", "web"))
			m, err := live.NextMsg(timeout)
			if err != nil {
				t.Fatalf("live desired state: %v", err)
			}
			if _, from, _ := eventlog.SourceOf(m.Header); from != seq || m.Header.Get("Nats-Subject") != "$KV.desired-state."+id+".web" {
				t.Errorf("live message of %d: header %v", seq, m.Header)
			}
			if m, err := live.NextMsg(200 * time.Millisecond); err == nil {
				t.Errorf("it also heard %s", m.Subject)
			}
		})
	}
}

// The sync's answers and a command's cross the accounts, as many as there are,
// and the device learns from the server itself who commands it.
func TestStreamedAnswersCrossTheAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	device := w.device(victim)

	_, err := w.nc.QueueSubscribe("fleet.sync.*", "operator", func(m *nats.Msg) {
		for _, s := range []string{"one", "two", "three"} {
			_ = m.Respond([]byte(s))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = device.Subscribe("device-commands.victim.*", func(m *nats.Msg) {
		info, err := eventlog.RequestInfoOf(m.Header)
		if err != nil {
			t.Error(err)
		}
		_ = m.Respond([]byte(info.Account))
		_ = m.Respond([]byte(info.User))
		_ = m.Respond(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, nc := range []*nats.Conn{w.nc, device} {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	person, _ := w.as(alice)
	for name, tt := range map[string]struct {
		from    *nats.Conn
		subject string
		want    []string
	}{
		"a device asks its desired state": {device, "fleet.sync.victim", []string{"one", "two", "three"}},
		"a person commands a device":      {person, "device-commands.victim.ping", []string{"PEOPLE", alice, ""}},
	} {
		inbox := tt.from.NewInbox()
		answers, err := tt.from.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.from.PublishRequest(tt.subject, inbox, nil); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			m, err := answers.NextMsg(timeout)
			if err != nil {
				t.Fatalf("%s: answer %q: %v", name, want, err)
			}
			if string(m.Data) != want {
				t.Errorf("%s: answer %q, want %q", name, m.Data, want)
			}
		}
	}
}

func TestAPersonRequestsInTheOwnNameAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, user := range []string{alice, dev} {
		var v violations
		nc, js := w.as(user, v.option())
		for subject, verb := range map[string]string{
			eventlog.RequestSubject(user, "default", "web"): eventlog.RequestWithdraw,
			eventlog.DeviceRequestSubject(user, "pi-01"):    eventlog.RequestDecommission,
		} {
			d, err := eventlog.NewDraft(subject, eventlog.RequestMade, time.Now(), eventlog.Request{Verb: verb})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := appender.Unfenced(t.Context(), js, "fleetctl", d); err != nil {
				t.Errorf("%s: own request %s: %v", user, verb, err)
			}
		}
		for _, subject := range []string{"fleet.evt.request.bob.default.web", "fleet.evt.request.bob.pi-01"} {
			if err := nc.Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the request in bob's name is refused", func() bool {
				return nc.Flush() == nil && v.of("publish", subject)
			})
		}
	}
}
