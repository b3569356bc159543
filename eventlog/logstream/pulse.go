package logstream

import (
	"context"
	"errors"
	"fmt"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ClearPulse takes a device's last pulse out of the bucket device-heartbeat, as a
// KV client's delete does. It publishes nothing where there is none.
func ClearPulse(ctx context.Context, js jetstream.JetStream, device string) error {
	subject := eventlog.PulseSubject(device)
	s, err := js.Stream(ctx, eventlog.PulseStream)
	if err != nil {
		return fmt.Errorf("clear the pulse of %s: %w", device, err)
	}
	last, err := s.GetLastMsgForSubject(ctx, subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("clear the pulse of %s: %w", device, err)
	case last.Header.Get(eventlog.HeaderKVOperation) != "":
		return nil
	}
	_, err = js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: nats.Header{eventlog.HeaderKVOperation: {eventlog.KVDelete}}})
	if err != nil {
		return fmt.Errorf("clear the pulse of %s: %w", device, err)
	}
	return nil
}
