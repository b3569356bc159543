package appender

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Errors that a caller of the Appender branches on.
var (
	// ErrDeposed: another leader was elected. Nothing more may be said.
	ErrDeposed = errors.New("deposed: another leader was elected in the log")
	// ErrUncertain: the answer to an append was lost, so it may be in the log.
	// The caller elects itself again and folds past that election before it
	// decides again; latecomers then carry an old token and are refused, so
	// nothing is said twice. Until then the Appender gives ErrNotElected.
	ErrUncertain = errors.New("no answer to an append: it may or may not be in the log")
	// ErrLogFull: the log has reached its size.
	ErrLogFull = errors.New("the log is full: raise --log-max-bytes, or cut off who fills it (fleetctl log shows them)")
	// ErrTooLarge: an event is larger than MaxMessageBytes.
	ErrTooLarge = errors.New("the event is larger than the log takes")
	// ErrNotElected: Append was called before Elect.
	ErrNotElected = errors.New("not elected: an appender without a fencing token may not append")
)

// Codes of the server that nats.go does not name.
const (
	codeMessageTooLarge       jetstream.ErrorCode = 10054
	codeStoreFailed           jetstream.ErrorCode = 10077 // the description says why
	codeInsufficientResources jetstream.ErrorCode = 10023 // the account's limit
	codeStorageExceeded       jetstream.ErrorCode = 10047 // the server's limit
)

// The server's words for a full stream, and what precedes the sequence that it
// has in place of the expected one.
const (
	textFull          = "maximum bytes exceeded"
	textWrongSequence = "wrong last sequence: "
)

// refusal says what a server's answer, or none, means to an append that carried
// token. Only error 10071 that names another sequence than ours means deposed.
func refusal(err error, token uint64) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence:
		n, perr := strconv.ParseUint(strings.TrimPrefix(api.Description, textWrongSequence), 10, 64)
		if perr == nil && n != token {
			return fmt.Errorf("%w (at sequence %d)", ErrDeposed, n)
		}
	case codeMessageTooLarge:
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case codeStoreFailed:
		if strings.Contains(api.Description, textFull) {
			return fmt.Errorf("%w: %w", ErrLogFull, err)
		}
	case codeInsufficientResources, codeStorageExceeded:
		return fmt.Errorf("%w: %w", ErrLogFull, err)
	}
	return fmt.Errorf("%w: %w", ErrUncertain, err)
}

func code(err error) jetstream.ErrorCode {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode
	}
	return 0
}
