package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
)

// Reasons for which a message is not believed. A NATS server does not check
// where a client aims its answers, so any device can make the answers to its own
// questions arrive on another one's subjects. What an answer cannot carry tells.
const (
	// ReasonSyncOnLive: it arrived as a live value and is an answer to a sync.
	ReasonSyncOnLive = "SyncOnLive"
	// ReasonNotRepublished: a live value without the server's own Nats-Subject.
	ReasonNotRepublished = "NotRepublished"
	// ReasonOtherDevice: it speaks of another device, or of another key than the
	// subject that it arrived on.
	ReasonOtherDevice = "OtherDevice"
	// ReasonNotFromLog: no Nats-Stream-Source, or one that is not the log.
	ReasonNotFromLog = "NotFromLog"
	// ReasonEmptyValue: neither a value nor a delete marker.
	ReasonEmptyValue = "EmptyValue"
	// ReasonOtherNonce: an answer to no question of this device that is open.
	ReasonOtherNonce = "OtherNonce"
	// ReasonRepublished: it arrived as an answer and is a live value.
	ReasonRepublished = "Republished"
	// ReasonMalformed: an answer that cannot be read.
	ReasonMalformed = "Malformed"
)

// rejection is why a message is not believed.
type rejection struct {
	reason string
	why    string
}

func (r *rejection) Error() string { return r.why }

func refuse(reason, format string, args ...any) *rejection {
	return &rejection{reason: reason, why: fmt.Sprintf(format, args...)}
}

func has(h nats.Header, key string) bool {
	_, ok := h[key]
	return ok
}

// verifyLive reads a message that arrived on a live subject. It is believed
// only with all of: no Fleet-Sync, Nats-Subject naming this device's key in the
// bucket, and Nats-Stream-Source naming the log.
func verifyLive(device string, m *nats.Msg) (store.Desired, *rejection) {
	if has(m.Header, eventlog.HeaderSync) {
		return store.Desired{}, refuse(ReasonSyncOnLive, "it has header %s, as answers to a sync have", eventlog.HeaderSync)
	}
	subject := m.Header.Get(eventlog.HeaderSubject)
	if subject == "" {
		return store.Desired{}, refuse(ReasonNotRepublished, "it has no header %s, which the server puts on what it republishes", eventlog.HeaderSubject)
	}
	of, deployment, ok := eventlog.ParseDesiredKV(subject)
	if !ok || of != device || m.Subject != eventlog.LiveSubject(device, deployment) {
		return store.Desired{}, refuse(ReasonOtherDevice, "it is the value of %q, which belongs elsewhere", subject)
	}
	return valueOf(m, deployment)
}

// answerKind is what one message of an answer is.
type answerKind int

const (
	answerValue answerKind = iota
	answerEnd
	answerRefusal
)

// answerMessage is one message of an answer to a sync.
type answerMessage struct {
	kind   answerKind
	value  store.Desired
	end    eventlog.SyncEnd
	reason string // of a refusal
}

// verifyAnswer reads a message that arrived on the inbox of a sync. It is
// believed only with the nonce of the open question and without Nats-Subject.
func verifyAnswer(device, nonce string, m *nats.Msg) (answerMessage, *rejection) {
	if has(m.Header, eventlog.HeaderSubject) {
		return answerMessage{}, refuse(ReasonRepublished, "it has header %s, which no answer has", eventlog.HeaderSubject)
	}
	if got := m.Header.Get(eventlog.HeaderSync); nonce == "" || got != nonce {
		return answerMessage{}, refuse(ReasonOtherNonce, "header %s is not that of an open question", eventlog.HeaderSync)
	}
	if reason := m.Header.Get(eventlog.HeaderSyncError); reason != "" {
		return answerMessage{kind: answerRefusal, reason: reason}, nil
	}
	if has(m.Header, eventlog.HeaderSyncEnd) {
		p := answerMessage{kind: answerEnd}
		if err := json.Unmarshal(m.Data, &p.end); err != nil || p.end.LogID == "" || p.end.Count < 0 {
			return answerMessage{}, refuse(ReasonMalformed, "the end of an answer does not name a log, a sequence and a count")
		}
		return p, nil
	}
	key := m.Header.Get(eventlog.HeaderKey)
	deployment, ok := strings.CutPrefix(key, eventlog.DesiredKey(device, ""))
	if !ok {
		return answerMessage{}, refuse(ReasonOtherDevice, "it is the value of key %q, which belongs elsewhere", key)
	}
	d, no := valueOf(m, deployment)
	return answerMessage{kind: answerValue, value: d}, no
}

// valueOf reads a desired value or its delete marker, as the bucket has them.
func valueOf(m *nats.Msg, deployment string) (store.Desired, *rejection) {
	if err := eventlog.CheckName("deployment", deployment); err != nil {
		return store.Desired{}, refuse(ReasonMalformed, "%v", err)
	}
	stream, sequence, ok := eventlog.SourceOf(m.Header)
	if !ok || stream != eventlog.LogStream {
		return store.Desired{}, refuse(ReasonNotFromLog, "header %s is %q, which is not the log", eventlog.HeaderStreamSource, m.Header.Get(eventlog.HeaderStreamSource))
	}
	d := store.Desired{Deployment: deployment, Namespace: m.Header.Get(eventlog.HeaderNamespace), Sequence: sequence}
	if n, err := strconv.ParseUint(m.Header.Get(eventlog.HeaderRevision), 10, 64); err == nil {
		d.Revision = n // without one the revision is just not known
	}
	if c, err := eventlog.ParseTraceContext(eventlog.HeaderValue(m.Header, eventlog.HeaderTraceparent)); err == nil && c.Sampled() {
		d.Traceparent = c.String()
	}
	switch {
	case eventlog.IsRemoval(m.Header):
		d.Withdrawn = true
	case len(m.Data) == 0:
		return store.Desired{}, refuse(ReasonEmptyValue, "it is empty and no delete marker: absence takes nothing off a device")
	default:
		d.Value = bytes.Clone(m.Data)
	}
	return d, nil
}
