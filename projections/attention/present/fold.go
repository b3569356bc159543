package present

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/attention"
)

// noDevice is a name that no device has. An operator answers who asks for its desired state, as
// it answers each device: with how far it has folded the log, and no value.
const noDevice = "fleetctl-doctor"

// FoldSubject is where an operator is asked how far it has folded the log. The servers let
// operators and admins ask there.
func FoldSubject() string { return eventlog.SyncSubject(noDevice) }

// FoldPatience is how long an operator may take for its answer. Nobody answers a user who may
// not ask.
const FoldPatience = 2 * time.Second

// ErrFoldRefused says that the servers do not let this user ask an operator.
var ErrFoldRefused = errors.New("the servers refuse the question how far an operator has folded the log")

// Fold asks an operator how far it has folded the log. The replicas share such questions, so
// that one of them answers, whether it leads or not.
//
// Errors: ErrFoldRefused; those of a NATS request, nats.ErrNoResponders where no operator
// listens; why the log cannot be asked, or the oldest event be read that the operator lacks.
func Fold(ctx context.Context, js jetstream.JetStream) (*attention.Fold, error) {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return nil, err
	}
	end, refused, err := askFold(ctx, js.Conn())
	if err != nil {
		return nil, err
	}
	if refused != "" {
		return &attention.Fold{Refused: refused}, nil
	}
	f := &attention.Fold{Sequence: end.LogSequence}
	lacks := end.LogSequence + 1
	if end.LogID != log.ID {
		f.Sequence, lacks = 0, log.First
	}
	if lacks > log.Last {
		return f, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	oldest, err := reader.MessageAt(ctx, js, eventlog.LogStream, max(lacks, log.First))
	if err != nil {
		return nil, fmt.Errorf("the oldest event that it lacks cannot be read: %w", err)
	}
	f.Lacks, f.Since = oldest.Sequence, oldest.Time
	return f, nil
}

// askFold gives an operator's answer, or why it answers no device.
func askFold(ctx context.Context, nc *nats.Conn) (end eventlog.SyncEnd, refused string, err error) {
	ctx, cancel := context.WithTimeout(ctx, FoldPatience)
	defer cancel()
	nonce := ulid.Make().String()
	data, err := json.Marshal(eventlog.SyncRequest{Nonce: nonce})
	if err != nil {
		return end, "", err
	}
	m := &nats.Msg{Subject: FoldSubject(), Data: data, Header: nats.Header{}}
	m.Header.Set(eventlog.HeaderSync, nonce)
	answer, err := nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		// The servers refuse a question beside it, and nobody answers.
		if last := nc.LastError(); errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), FoldSubject()) {
			return end, "", fmt.Errorf("%w: %w", ErrFoldRefused, err)
		}
		return end, "", err
	}
	if answer.Header.Get(eventlog.HeaderSync) != nonce {
		return end, "", errors.New("the operator's answer is to another question")
	}
	if why := answer.Header.Get(eventlog.HeaderSyncError); why != "" {
		return end, why, nil
	}
	if answer.Header.Get(eventlog.HeaderSyncEnd) == "" || json.Unmarshal(answer.Data, &end) != nil {
		return end, "", errors.New("the operator's answer does not say how far it has folded the log")
	}
	return end, "", nil
}
