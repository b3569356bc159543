package dev

import (
	"context"
	"fmt"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/verify"
)

// asItWas asks for the fleet just before the Deployment was deleted.
func (s *story) asItWas(ctx context.Context) error {
	key := fleet.Key{Namespace: namespace, Name: s.name}
	var deleted uint64
	for e, err := range reader.Read(ctx, s.js, reader.Options{Subjects: []string{eventlog.DeploymentSubject(key.Namespace, key.Name)}}) {
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Sequence, err)
		}
		if e.Type == eventlog.DeploymentDeleted {
			deleted = e.Sequence
		}
	}
	if deleted == 0 {
		return fmt.Errorf("the log has no deployment.deleted of %s", key)
	}
	v, err := asof.At(ctx, s.js, asof.Moment{Sequence: deleted - 1}, asof.Options{})
	if err != nil {
		return err
	}
	d := v.Deployments[key]
	if d == nil || d.Lifecycle != fleet.Applied || d.Counts.Succeeded != len(s.devices) {
		return fmt.Errorf("at sequence %d %s was %+v", deleted-1, key, d)
	}
	s.tell("fleetctl get deployment %s --at %d: revision %d, %d of %d devices succeeded", s.name, deleted-1, d.Spec.Revision, d.Counts.Succeeded, d.Counts.Matched)
	return nil
}

// agrees verifies the log against itself and the buckets.
func (s *story) agrees(ctx context.Context) error {
	r, err := verify.Run(ctx, s.js, verify.Options{})
	if err != nil {
		return err
	}
	if n := r.Differences(); n > 0 {
		return fmt.Errorf("%d differences: %+v", n, r.Findings)
	}
	s.tell("fleetctl verify: %d messages, their seals and the four buckets agree, byte by byte", r.Messages)
	return nil
}
