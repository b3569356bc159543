package rotate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// NATS asks devices by a connection of an admin.
type NATS struct{ Conn *nats.Conn }

var _ Bus = NATS{}

// Times for a device's answer. A small device takes seconds to make a key.
const (
	showTimeout   = 10 * time.Second
	createTimeout = 60 * time.Second
	adoptTimeout  = eventlog.KeyAdoptTimeout + 20*time.Second
)

// Ask implements Bus.
func (b NATS) Ask(ctx context.Context, device string, q eventlog.KeyRequest) (a eventlog.KeyAnswer, err error) {
	timeout := showTimeout
	switch q.Phase {
	case eventlog.KeyCreate:
		timeout = createTimeout
	case eventlog.KeyAdopt:
		timeout = adoptTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	question, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	m, err := b.Conn.RequestWithContext(bounded, eventlog.DeviceCommandSubject(device, eventlog.VerbKey), question)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return a, errors.New("the device is not connected")
	case ctx.Err() != nil:
		return a, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		if last := b.Conn.LastError(); errors.Is(last, nats.ErrPermissionViolation) {
			return a, fmt.Errorf("you may not ask devices for their keys: log in as an admin: %w", last)
		}
		return a, fmt.Errorf("the device did not answer within %s", timeout)
	case err != nil:
		return a, err
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return a, fmt.Errorf("the device's answer cannot be read: %.80q", m.Data)
	}
	return a, nil
}
