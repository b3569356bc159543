package session

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
)

const device = "pi-01"

// message makes one with the headers that the contract names, here as literals.
func message(subject, data string, header ...string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = []byte(data)
	for i := 0; i < len(header); i += 2 {
		m.Header[header[i]] = []string{header[i+1]}
	}
	return m
}

func TestBelieveLive(t *testing.T) {
	t.Parallel()
	const subject = "fleet.live.desired.pi-01.web"
	source := []string{"Nats-Subject", "$KV.desired-state.pi-01.web", "Nats-Stream-Source", "FLEET 21 fleet.evt.desired.*.* $KV.desired-state.>"}
	with := func(header ...string) []string { return append(append([]string{}, source...), header...) }
	tests := map[string]struct {
		m      *nats.Msg
		want   store.Desired
		reason string
	}{
		"a value that the server republished": {
			message(subject, `{"type":"PodmanV0"}`, with("Fleet-Namespace", "shop", "Fleet-Revision", "3")...),
			store.Desired{Deployment: "web", Namespace: "shop", Revision: 3, Sequence: 21, Value: []byte(`{"type":"PodmanV0"}`)},
			"",
		},
		"a value of a change that is traced": {
			message(subject, `{"type":"PodmanV0"}`, with("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")...),
			store.Desired{Deployment: "web", Sequence: 21, Value: []byte(`{"type":"PodmanV0"}`), Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
			"",
		},
		"a value of a change that nobody records": {
			message(subject, `{"type":"PodmanV0"}`, with("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")...),
			store.Desired{Deployment: "web", Sequence: 21, Value: []byte(`{"type":"PodmanV0"}`)},
			"",
		},
		"a value with a trace that is none": {
			message(subject, `{"type":"PodmanV0"}`, with("traceparent", "what")...),
			store.Desired{Deployment: "web", Sequence: 21, Value: []byte(`{"type":"PodmanV0"}`)},
			"",
		},
		"a delete marker": {
			message(subject, "", with("KV-Operation", "DEL")...), store.Desired{Deployment: "web", Sequence: 21, Withdrawn: true}, "",
		},
		"an answer to somebody's sync, aimed here": {
			message(subject, `{"type":"PodmanV0"}`, with("Fleet-Sync", "nonce")...), store.Desired{}, ReasonSyncOnLive,
		},
		"an answer to a sync with an empty nonce": {
			message(subject, `{"type":"PodmanV0"}`, with("Fleet-Sync", "")...), store.Desired{}, ReasonSyncOnLive,
		},
		"an acknowledgement of somebody's report, aimed here": {
			message(subject, `{"stream":"FLEET","seq":4}`), store.Desired{}, ReasonNotRepublished,
		},
		"the value of another device": {
			message(subject, "{}", "Nats-Subject", "$KV.desired-state.pi-02.web", "Nats-Stream-Source", "FLEET 21"), store.Desired{}, ReasonOtherDevice,
		},
		"the value of another Deployment than the subject says": {
			message("fleet.live.desired.pi-01.x", "{}", source...), store.Desired{}, ReasonOtherDevice,
		},
		"the value of another bucket": {
			message(subject, "{}", "Nats-Subject", "$KV.device-state.state.pi-01.web", "Nats-Stream-Source", "FLEET 21"), store.Desired{}, ReasonOtherDevice,
		},
		"a value without a source": {
			message(subject, "{}", "Nats-Subject", "$KV.desired-state.pi-01.web"), store.Desired{}, ReasonNotFromLog,
		},
		"a value of another stream": {
			message(subject, "{}", "Nats-Subject", "$KV.desired-state.pi-01.web", "Nats-Stream-Source", "EVIL 21"), store.Desired{}, ReasonNotFromLog,
		},
		"an empty value that is no delete marker": {
			message(subject, "", source...), store.Desired{}, ReasonEmptyValue,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, no := verifyLive(device, tc.m)
			checkBelief(t, tc.want, got, tc.reason, no)
		})
	}
}

func TestBelieveAnswer(t *testing.T) {
	t.Parallel()
	const inbox, nonce = "_INBOX.pi-01.x", "n1"
	tests := map[string]struct {
		nonce  string
		m      *nats.Msg
		want   answerMessage
		reason string
	}{
		"a value": {
			nonce,
			message(inbox, "{}", "Fleet-Sync", nonce, "Fleet-Key", "pi-01.web", "Nats-Stream-Source", "FLEET 7", "Fleet-Revision", "2"),
			answerMessage{value: store.Desired{Deployment: "web", Revision: 2, Sequence: 7, Value: []byte("{}")}},
			"",
		},
		"a delete marker": {
			nonce,
			message(inbox, "", "Fleet-Sync", nonce, "Fleet-Key", "pi-01.web", "Nats-Stream-Source", "FLEET 8", "KV-Operation", "DEL"),
			answerMessage{value: store.Desired{Deployment: "web", Sequence: 8, Withdrawn: true}},
			"",
		},
		"the end": {
			nonce, message(inbox, `{"log_id":"L","log_sequence":9,"count":1}`, "Fleet-Sync", nonce, "Fleet-Sync-End", "true"),
			answerMessage{kind: answerEnd, end: eventlog.SyncEnd{LogID: "L", LogSequence: 9, Count: 1}},
			"",
		},
		"a refusal": {
			nonce, message(inbox, "again", "Fleet-Sync", nonce, "Fleet-Sync-Error", "Rebuilding"),
			answerMessage{kind: answerRefusal, reason: "Rebuilding"},
			"",
		},
		"an end that names no log": {
			nonce, message(inbox, `{"count":1}`, "Fleet-Sync", nonce, "Fleet-Sync-End", "true"), answerMessage{}, ReasonMalformed,
		},
		"an end that is not JSON": {
			nonce, message(inbox, `x`, "Fleet-Sync", nonce, "Fleet-Sync-End", "true"), answerMessage{}, ReasonMalformed,
		},
		"an answer to another question": {
			nonce, message(inbox, "{}", "Fleet-Sync", "n2", "Fleet-Key", "pi-01.web", "Nats-Stream-Source", "FLEET 7"), answerMessage{}, ReasonOtherNonce,
		},
		"an answer without a nonce where no question is open": {
			"", message(inbox, "{}", "Fleet-Sync", "", "Fleet-Key", "pi-01.web", "Nats-Stream-Source", "FLEET 7"), answerMessage{}, ReasonOtherNonce,
		},
		"an acknowledgement, aimed here": {
			nonce, message(inbox, `{"stream":"FLEET","seq":4}`), answerMessage{}, ReasonOtherNonce,
		},
		"a live value, aimed here": {
			nonce,
			message(inbox, "{}", "Fleet-Sync", nonce, "Fleet-Key", "pi-01.web", "Nats-Stream-Source", "FLEET 7", "Nats-Subject", "x"),
			answerMessage{},
			ReasonRepublished,
		},
		"the value of another device": {
			nonce, message(inbox, "{}", "Fleet-Sync", nonce, "Fleet-Key", "pi-02.web", "Nats-Stream-Source", "FLEET 7"), answerMessage{}, ReasonOtherDevice,
		},
		"a name that is no label": {
			nonce, message(inbox, "{}", "Fleet-Sync", nonce, "Fleet-Key", "pi-01.a.b", "Nats-Stream-Source", "FLEET 7"), answerMessage{}, ReasonMalformed,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, no := verifyAnswer(device, tc.nonce, tc.m)
			if no != nil {
				got = answerMessage{}
			}
			checkBelief(t, tc.want, got, tc.reason, no)
		})
	}
}

func checkBelief[T any](t *testing.T, want, got T, reason string, no *rejection) {
	t.Helper()
	if no != nil && (no.reason != reason || no.why == "") {
		t.Errorf("refused: %s (%s), want %q", no.reason, no.why, reason)
	}
	if no == nil && reason != "" {
		t.Errorf("believed, want %q", reason)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(answerMessage{})); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
}

func FuzzBelieve(f *testing.F) {
	f.Add("n", "{}", "pi-01.web", "FLEET 7", "$KV.desired-state.pi-01.web", "", "")
	f.Add("n", "{}", "pi-01.web", "FLEET 7", "", "n", "DEL")
	f.Fuzz(func(t *testing.T, nonce, data, key, source, subject, sync, op string) {
		m := message("fleet.live.desired.pi-01.web", data, "Fleet-Key", key, "Nats-Stream-Source", source, "KV-Operation", op)
		if sync != "" {
			m.Header.Set("Fleet-Sync", sync)
		}
		if subject != "" {
			m.Header.Set("Nats-Subject", subject)
		}
		live, no := verifyLive(device, m)
		if _, answer := verifyAnswer(device, nonce, m); no == nil && answer == nil {
			t.Fatal("one message is both a live value and an answer")
		}
		if no == nil && (live.Sequence == 0 || live.Withdrawn == (len(live.Value) > 0)) {
			t.Fatalf("believed %+v", live)
		}
	})
}
