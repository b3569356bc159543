package syncsvc

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/state"
)

// request is a device's question.
type request struct {
	device string
	nonce  string
	reply  string
}

func parse(m *nats.Msg) (*request, error) {
	device, ok := eventlog.DeviceOfSync(m.Subject)
	if !ok {
		return nil, errors.New("no device in the subject")
	}
	if err := eventlog.CheckName("device", device); err != nil {
		return nil, err
	}
	if m.Reply == "" {
		return nil, errors.New("no reply subject")
	}
	nonce, err := nonceOf(m)
	if err != nil {
		return nil, err
	}
	return &request{device: device, nonce: nonce, reply: m.Reply}, nil
}

// nonceOf reads the nonce from the header and from the payload; where both are
// there they must agree.
func nonceOf(m *nats.Msg) (string, error) {
	nonce := m.Header.Get(eventlog.HeaderSync)
	if len(m.Data) > 0 {
		var q eventlog.SyncRequest
		if err := json.Unmarshal(m.Data, &q); err != nil {
			return "", fmt.Errorf("payload: %w", err)
		}
		if nonce != "" && q.Nonce != nonce {
			return "", fmt.Errorf("nonce %.80q in the payload, %.80q in the header", q.Nonce, nonce)
		}
		nonce = q.Nonce
	}
	return nonce, checkNonce(nonce)
}

// answer is a device's whole desired set.
type answer struct {
	position state.Position
	msgs     []*nats.Msg // of the bucket
}

// copied are the headers of the bucket's message that an answer keeps. Above
// all not Nats-Subject: its absence tells an answer from a live message.
var copied = []string{
	eventlog.HeaderStreamSource, eventlog.HeaderKVOperation, eventlog.HeaderNamespace, eventlog.HeaderRevision,
	eventlog.HeaderTraceparent,
}

func (s *Service) send(r *request, a answer) {
	for _, m := range a.msgs {
		device, deployment, ok := eventlog.ParseDesiredKV(m.Subject)
		if !ok {
			continue // not a key of the contract; it cannot have come from the log
		}
		out := r.message(m.Data)
		out.Header.Set(eventlog.HeaderKey, eventlog.DesiredKey(device, deployment))
		for _, h := range copied {
			if v := m.Header.Get(h); v != "" {
				out.Header.Set(h, v)
			}
		}
		if !s.publish(out) {
			return
		}
	}
	body, err := json.Marshal(eventlog.SyncEnd{LogID: a.position.LogID, LogSequence: a.position.Sequence, Count: len(a.msgs)})
	if err != nil {
		s.options.Logger.Error("cannot encode the end of a sync answer", "error", err)
		return
	}
	out := r.message(body)
	out.Header.Set(eventlog.HeaderSyncEnd, "true")
	if s.publish(out) {
		s.metrics.answered(resultComplete)
	}
}

func (s *Service) refuse(r *request, reason, message string) {
	out := r.message([]byte(message))
	out.Header.Set(eventlog.HeaderSyncError, reason)
	if s.publish(out) {
		s.metrics.answered(reason)
	}
}

func (r *request) message(data []byte) *nats.Msg {
	return &nats.Msg{Subject: r.reply, Data: data, Header: nats.Header{eventlog.HeaderSync: []string{r.nonce}}}
}

func (s *Service) publish(m *nats.Msg) bool {
	if err := s.nc.PublishMsg(m); err != nil {
		s.options.Logger.Warn("cannot send a sync answer", "error", err)
		return false
	}
	return true
}

// holds says whether the bucket's messages have, for each name, the event that the
// log has, or a later one. The highest sequence alone does not tell: a device with
// many names is read in pieces, and the bucket goes on in between.
func holds(msgs []*nats.Msg, desired map[string]uint64) bool {
	missing := len(desired)
	for _, m := range msgs {
		_, name, _ := eventlog.ParseDesiredKV(m.Subject)
		want, known := desired[name]
		if _, got, _ := eventlog.SourceOf(m.Header); known && got >= want {
			missing--
		}
	}
	return missing == 0
}

// lastSource is the highest sequence of the log among the bucket's messages.
func lastSource(msgs []*nats.Msg) (uint64, error) {
	var last uint64
	for _, m := range msgs {
		stream, seq, ok := eventlog.SourceOf(m.Header)
		if !ok || stream != eventlog.LogStream {
			return 0, fmt.Errorf("%s: header %s %q does not name the log", m.Subject, eventlog.HeaderStreamSource, m.Header.Get(eventlog.HeaderStreamSource))
		}
		last = max(last, seq)
	}
	return last, nil
}
