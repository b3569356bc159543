package podman

import (
	"context"
	"errors"

	"github.com/containers/podman/v5/pkg/bindings/system"
	"github.com/containers/podman/v5/pkg/domain/entities/types"

	"fleet.nationtech.io/agent/engine"
)

// errEventsEnded is what a stream that ends without an error means.
var errEventsEnded = errors.New("podman's stream of events ended")

// Events calls notify until the context ends or the service goes away, which the
// bindings tell only by closing the channel.
func (p *Podman) Events(ctx context.Context, notify func(engine.Event)) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	events := make(chan types.Event)
	options := new(system.EventsOptions).WithStream(true).WithFilters(map[string][]string{
		"type": {"container"}, "label": {engine.LabelDevice + "=" + p.options.Device},
	})
	if err := system.Events(conn, events, nil, options); err != nil {
		return fail(ctx, engine.ReasonEngineAway, err)
	}
	// Read to the end in any case: an event that nobody takes would hold the
	// bindings' goroutine for ever.
	for e := range events {
		notify(engine.Event{ContainerID: e.Actor.ID, Action: string(e.Action)})
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &engine.Error{Class: engine.ClassAway, Reason: engine.ReasonEngineAway, Err: errEventsEnded}
}
