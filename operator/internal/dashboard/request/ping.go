package request

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/person"
)

// pingTime is how long a device may take to answer.
const pingTime = 2 * time.Second

// Ping asks a device whether it is there, over a person's connection. It fails with
// ErrForbidden. That no answer comes is an answer.
func Ping(ctx context.Context, p *person.Person, device string) (model.Pong, error) {
	subject := eventlog.DeviceCommandSubject(device, eventlog.VerbPing)
	if !p.May(subject) {
		return model.Pong{}, ErrForbidden
	}
	bounded, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	out, began := model.Pong{Device: device}, time.Now()
	m, err := p.Connection.RequestWithContext(bounded, subject, nil)
	took := time.Since(began)
	switch {
	case ctx.Err() != nil:
		return out, ctx.Err()
	case errors.Is(err, nats.ErrNoResponders):
		out.Why = "the device is not connected, or does not exist"
		return out, nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		if refused(p.Connection, subject) {
			return out, ErrForbidden
		}
		out.Why = fmt.Sprintf("no answer came within %v", pingTime)
		return out, nil
	case err != nil:
		return out, fmt.Errorf("ping %s: %w", device, err)
	}
	var said struct {
		AgentVersion string `json:"agent_version"`
		Error        string `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &said); {
	case err != nil:
		out.Why = "the answer of the device cannot be read"
	case said.Error != "":
		out.Why = "the device says: " + clip(said.Error)
	default:
		out.Answered, out.RoundTrip, out.Agent = true, took.Round(10*time.Microsecond).Seconds(), clip(said.AgentVersion)
	}
	return out, nil
}

// clip bounds what a device says of itself.
func clip(text string) string {
	const most = 200
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
