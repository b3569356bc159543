package dev

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/projections/archive"
)

// restore puts an archive into NATS while nobody is there who would make a log:
// what `fleetctl restore` does in production, before the operators are started.
func (r *runner) restore(ctx context.Context, users accounts.Users) error {
	if r.Restore == "" {
		return nil
	}
	nc, err := r.fleet.Env.Connect(nats.UserInfo(userOperator, users.Operator.Password), nats.Name("fleet-dev restore"))
	if err != nil {
		return fmt.Errorf("restore %s: %w", r.Restore, err)
	}
	defer nc.Close()
	out, err := archive.Restore(ctx, nc, r.Restore, archive.RestoreOptions{})
	switch {
	case errors.Is(err, archive.ErrGoneOn):
		r.say("event log       %v: it goes on", err)
		return nil
	case errors.Is(err, archive.ErrLogThere), errors.Is(err, archive.ErrBucketsThere):
		return fmt.Errorf("restore %s: %w; to give up what is there, remove %s", r.Restore, err, r.path("nats"))
	case err != nil:
		return fmt.Errorf("restore %s: %w", r.Restore, err)
	}
	r.say("event log       restored up to event %d, under the id %s", out.Last.Sequence, out.Log.ID)
	return nil
}
