// Package request sends what a person asks for, in the person's name and over the person's own
// connection, so that the NATS servers decide who may ask, and the log has the true actor. It
// reads what a form asks for.
package request

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/person"
)

// Source is what the events of requests name as their source.
const Source = "dashboard"

// appendTime is how long the servers may take to acknowledge a request.
const appendTime = 5 * time.Second

// Why a request is not in the log.
var (
	// ErrForbidden says that the person may not ask that.
	ErrForbidden = errors.New("you may not ask for that")
	// ErrUncertain says that the request may be in the log, or not: it was sent, and
	// no answer came.
	ErrUncertain = errors.New("the NATS servers did not acknowledge the request")
)

// errNotConnected says that a person's connection has ended, so that the request was not sent.
var errNotConnected = errors.New("the person's connection to NATS has ended")

// duplicateInProcess is the code by which a server says that it is storing another message with
// the same id: that one may be in the log, or not (NATS server, JSStreamDuplicateMessageConflict).
const duplicateInProcess jetstream.ErrorCode = 10158

// Receipt is what the servers say of a request.
type Receipt struct {
	Sequence uint64
	// Repeated says that the log had a request with the same token before, and has it at
	// Sequence. It may ask for something else.
	Repeated bool
}

// Append appends a request in a person's name. token is the same for the same request: where it
// comes a second time within the log's two minutes, nothing is appended, and the receipt names the
// first. It fails with ErrForbidden, and with ErrUncertain. After any other error the request is
// not in the log.
func Append(ctx context.Context, p *person.Person, about model.Subject, token string, q eventlog.Request, now time.Time) (Receipt, error) {
	subject := about.Asks(p.Actor)
	if !p.May(subject) {
		return Receipt{}, ErrForbidden
	}
	d, err := eventlog.NewDraft(subject, eventlog.RequestMade, now, q)
	if err != nil {
		return Receipt{}, err
	}
	d.Actor = p.Actor
	js, err := jetstream.New(p.Connection)
	if err != nil {
		return Receipt{}, err
	}
	m := d.Message(Source, ulid.Make().String())
	m.Header.Set(jetstream.MsgIDHeader, messageID(subject, token))
	ctx, cancel := context.WithTimeout(ctx, appendTime)
	defer cancel()
	if !p.Connection.IsConnected() { // else the client would send it later, when it is connected again
		return Receipt{}, fmt.Errorf("append %s on %s: %w", d.Type, subject, errNotConnected)
	}
	ack, err := js.PublishMsg(ctx, m)
	switch {
	case err == nil:
		return Receipt{Sequence: ack.Sequence, Repeated: ack.Duplicate}, nil
	case refused(p.Connection, subject):
		return Receipt{}, ErrForbidden
	case declined(err):
		return Receipt{}, fmt.Errorf("append %s on %s: %w", d.Type, subject, err)
	}
	return Receipt{}, fmt.Errorf("%w: %w", ErrUncertain, err)
}

// declined says whether an error of a message that was published means that no stream has stored
// it. The connection may end, and the context too, after the message went out.
func declined(err error) bool {
	if api := (*jetstream.APIError)(nil); errors.As(err, &api) {
		return api.ErrorCode != duplicateInProcess
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrMaxPayload)
}

// messageID is by what the server knows the same request. It is of the subject, which names
// the person, so that no person can use up another one's.
func messageID(subject, token string) string {
	sum := sha256.Sum256([]byte(subject + " " + token))
	return Source + "-" + hex.EncodeToString(sum[:16])
}

// refused says whether the servers' last word on a connection was that it may not publish on
// a subject.
func refused(nc *nats.Conn, subject string) bool {
	err := nc.LastError()
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`)
}
