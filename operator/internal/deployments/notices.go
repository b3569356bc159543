package deployments

import (
	"context"

	"fleet.nationtech.io/projections/fleet"
)

// notices are what every CR's status says, whatever the CR is about.
type notices struct{ mismatch, full, reserve string }

// Mismatch writes into each CR why nothing is decided here, until the context
// ends.
func (c *Controller) Mismatch(ctx context.Context, why string) {
	c.note(func(n *notices) { n.mismatch = why })
	c.WriteStatuses(ctx)
}

// WriteStatuses writes statuses alone until the context ends, while nothing is decided.
func (c *Controller) WriteStatuses(ctx context.Context) {
	c.writer.Run(ctx, func() {
		c.all(func(k fleet.Key) bool { c.writer.Mark(k); return true })
	})
}

// SetLog notes for all CRs what is wrong with the log: full where it takes no
// more events, reserve where its reserve was opened; both empty where all is well.
func (c *Controller) SetLog(full, reserve string) {
	c.note(func(n *notices) { n.full, n.reserve = full, reserve })
}

// note changes the notices, and has every status written where that is news.
func (c *Controller) note(change func(*notices)) {
	c.mu.Lock()
	before := c.notices
	change(&c.notices)
	changed := c.notices != before
	c.mu.Unlock()
	if changed {
		c.all(func(k fleet.Key) bool { c.writer.Mark(k); return true })
	}
}
