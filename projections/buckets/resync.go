package buckets

import (
	"context"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go"
)

// syncPace is how many devices a second are told to sync.
const syncPace = 2000

// flushTimeout is how long the server may take to acknowledge the last requests.
const flushTimeout = 5 * time.Second

// RequestResync asks devices to ask for their desired state, at a pace that the
// answers to all of them can keep: after a bucket was rebuilt without telling
// anybody what is in it. Nobody waits for the devices' answers: one that does not
// hear it asks by itself within minutes.
func RequestResync(ctx context.Context, nc *nats.Conn, devices []string) error {
	const turns = 100 // a second
	tick := time.NewTicker(time.Second / turns)
	defer tick.Stop()
	for len(devices) > 0 {
		n := min(len(devices), syncPace/turns)
		for _, id := range devices[:n] {
			// A request, as commands are: devices believe no other.
			if err := nc.PublishRequest(eventlog.DeviceCommandSubject(id, eventlog.VerbSync), nc.NewRespInbox(), nil); err != nil {
				return fmt.Errorf("tell device %s to sync: %w", id, err)
			}
		}
		devices = devices[n:]
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nc.FlushTimeout(flushTimeout)
}
