package reader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MessageAt gives the message that a stream's leader has at a sequence, as a
// consumer would deliver it: with the header as it is stored, and none where that
// cannot be read. (The client's own way fails on a header that cannot be read, and
// a device with a client of its own can write one.) Where it comes out of a bucket,
// Nats-Stream-Source is what the server wrote, whatever else is there. It fails
// with jetstream.ErrMsgNotFound and jetstream.ErrStreamNotFound.
func MessageAt(ctx context.Context, js jetstream.JetStream, stream string, sequence uint64) (*jetstream.RawStreamMsg, error) {
	m, err := message(ctx, js, stream, messageRequest{Sequence: sequence})
	if err != nil {
		return nil, fmt.Errorf("stream %s: sequence %d: %w", stream, sequence, err)
	}
	return m, nil
}

// LastMessage gives the last message that a stream's leader has on a subject,
// which may have wildcards, as MessageAt does.
func LastMessage(ctx context.Context, js jetstream.JetStream, stream, subject string) (*jetstream.RawStreamMsg, error) {
	m, err := message(ctx, js, stream, messageRequest{LastFor: subject})
	if err != nil {
		return nil, fmt.Errorf("stream %s: last message of %s: %w", stream, subject, err)
	}
	return m, nil
}

// lastOn gives the last message on a filter of a stream that ends at a sequence. For the whole log
// that is the one at the sequence, for which the server need not look at the last message of each
// subject. Where none can be read there, the answer is that of LastMessage.
func lastOn(ctx context.Context, js jetstream.JetStream, stream, filter string, end uint64) (*jetstream.RawStreamMsg, error) {
	if stream == eventlog.LogStream && filter == eventlog.LogSubjects && end > 0 {
		if m, err := MessageAt(ctx, js, stream, end); err == nil {
			return m, nil
		}
	}
	return LastMessage(ctx, js, stream, filter)
}

// NextMessage gives the first message from a sequence on that a stream's leader has
// on a subject, which may have wildcards, as MessageAt does.
func NextMessage(ctx context.Context, js jetstream.JetStream, stream, subject string, from uint64) (*jetstream.RawStreamMsg, error) {
	m, err := message(ctx, js, stream, messageRequest{Sequence: from, NextFor: subject})
	if err != nil {
		return nil, fmt.Errorf("stream %s: next message of %s from %d: %w", stream, subject, from, err)
	}
	return m, nil
}

// messageRequest and messageAnswer are the payloads of STREAM.MSG.GET.
type messageRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
}

type messageAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Message struct {
		Subject  string    `json:"subject"`
		Sequence uint64    `json:"seq"`
		Header   []byte    `json:"hdrs"`
		Data     []byte    `json:"data"`
		Time     time.Time `json:"time"`
	} `json:"message"`
}

func message(ctx context.Context, js jetstream.JetStream, stream string, q messageRequest) (*jetstream.RawStreamMsg, error) {
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	api := eventlog.MessageGetAPI(stream)
	if isPeoples(js) {
		api = eventlog.PeopleMessageGetAPI(stream)
	}
	m, err := js.Conn().RequestWithContext(ctx, api, b)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("%w: %w", jetstream.ErrJetStreamNotEnabled, err)
	}
	if err != nil {
		return nil, err
	}
	var a messageAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return nil, fmt.Errorf("answer of the server: %w", err)
	}
	if a.Error != nil {
		switch a.Error.ErrorCode {
		case jetstream.JSErrCodeMessageNotFound:
			return nil, jetstream.ErrMsgNotFound
		case jetstream.JSErrCodeStreamNotFound:
			return nil, jetstream.ErrStreamNotFound
		}
		return nil, a.Error
	}
	header := readable
	if stream != eventlog.LogStream && stream != eventlog.PulseStream {
		header = sourced
	}
	return &jetstream.RawStreamMsg{
		Subject: a.Message.Subject, Sequence: a.Message.Sequence, Header: header(a.Message.Header), Data: a.Message.Data, Time: a.Message.Time,
	}, nil
}

// readable decodes a stored header; nil where that cannot be read.
func readable(stored []byte) nats.Header {
	if len(stored) == 0 {
		return nil
	}
	h, err := nats.DecodeHeadersMsg(stored)
	if err != nil {
		return nil
	}
	return h
}

// sourced decodes the header of a message that the server took from another
// stream. Where it was taken from the server writes at the end, whatever stands
// before: a device can write a header of that name that the server does not see
// and a client does, or one after which a client reads no further.
func sourced(stored []byte) nats.Header {
	h := readable(stored)
	i := bytes.LastIndex(stored, []byte(eventlog.HeaderStreamSource+": "))
	if i < 0 {
		return h
	}
	if h == nil {
		h = nats.Header{}
	}
	line, _, _ := bytes.Cut(stored[i:], []byte("\r\n"))
	h[eventlog.HeaderStreamSource] = []string{string(line[len(eventlog.HeaderStreamSource)+2:])}
	return h
}
