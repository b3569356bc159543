// Package bustest gives the tests of the agent's parts a bus over a connection of
// their own.
package bustest

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/bus"
)

// Of gives a bus of one connection. It ends with the test, and the connection
// stays the caller's.
func Of(tb testing.TB, nc *nats.Conn) *bus.Bus {
	tb.Helper()
	b := bus.Of(nc)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !nc.IsClosed() {
			tb.Error(err)
		}
	})
	return b
}
