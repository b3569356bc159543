package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// codeTooLarge is JetStream's error for a message over the stream's size.
const codeTooLarge = 10054

// ackError is what the log says when it does not take a message.
type ackError struct {
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *ackError) Error() string { return fmt.Sprintf("the log says: %s (%d)", e.Description, e.Code) }

// acknowledged reads JetStream's PubAck. It is one only without a header: what
// another device aims at our inbox cannot pass for it unless it comes from the
// log, and then it tells of nothing but a message that the log took.
func acknowledged(m *nats.Msg) error {
	var ack struct {
		Stream   string    `json:"stream"`
		Sequence uint64    `json:"seq"`
		Error    *ackError `json:"error"`
	}
	if len(m.Header) > 0 {
		return errors.New("the answer has headers, so it is no acknowledgement")
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return fmt.Errorf("the answer is no acknowledgement: %w", err)
	}
	if ack.Error != nil {
		return ack.Error
	}
	if ack.Stream != eventlog.LogStream || ack.Sequence == 0 {
		return fmt.Errorf("the acknowledgement is of stream %q, not of the log", ack.Stream)
	}
	return nil
}

// isFinal says whether a message can never be taken, however often it is tried.
// A full log is not final: it may be made larger.
func isFinal(err error) bool {
	var said *ackError
	return errors.Is(err, nats.ErrMaxPayload) || errors.As(err, &said) && said.Code == codeTooLarge
}

// retryDelay doubles up to a limit; half of it is random.
func retryDelay(try int) time.Duration {
	d := min(maxRetry, firstRetry<<min(try, 10))
	return d/2 + rand.N(d/2)
}
