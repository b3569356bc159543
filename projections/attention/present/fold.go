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

// FoldPatience is how long an operator may take for its answer. It is asked a second time after that.
// Nobody answers a user who may not ask.
const FoldPatience = 2 * time.Second

// ErrFoldRefused says that the servers do not let this user ask an operator.
var ErrFoldRefused = errors.New("the servers refuse the question how far an operator has folded the log")

// ErrNoOperator says that no operator answers. One that runs does, unless it has no connection to the
// servers.
var ErrNoOperator = errors.New("no operator answers")

// Fold asks an operator how far it has folded the log. The replicas share such questions, so
// that one of them answers, whether it leads or not.
//
// Errors: ErrFoldRefused; ErrNoOperator, with nats.ErrNoResponders where none listens; those of a NATS
// request; why the log cannot be asked, or the oldest event be read that the operator lacks.
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
	nonce := ulid.Make().String()
	data, err := json.Marshal(eventlog.SyncRequest{Nonce: nonce})
	if err != nil {
		return end, "", err
	}
	m := &nats.Msg{Subject: FoldSubject(), Data: data, Header: nats.Header{}}
	m.Header.Set(eventlog.HeaderSync, nonce)
	answer, err := request(ctx, nc, m)
	if errors.Is(err, ErrNoOperator) {
		answer, err = request(ctx, nc, m) // the first question may have come at a bad moment
	}
	if err != nil {
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

// request asks once. Its errors are those of Fold.
func request(ctx context.Context, nc *nats.Conn, m *nats.Msg) (*nats.Msg, error) {
	brief, cancel := context.WithTimeout(ctx, FoldPatience)
	defer cancel()
	answer, err := nc.RequestMsgWithContext(brief, m)
	switch last := nc.LastError(); {
	case err == nil:
		return answer, nil
	case errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), FoldSubject()):
		return nil, fmt.Errorf("%w: %w", ErrFoldRefused, err) // the servers say so beside the question, which nobody answers
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return nil, fmt.Errorf("%w: %w", ErrNoOperator, err)
	}
	return nil, err
}
