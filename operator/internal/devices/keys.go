package devices

import (
	"context"
	"time"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
)

// keyLook is how often all devices are looked at for keys whose standing turns before
// the next look. A key lives for years: a timer for each would be kept all that time.
const keyLook = time.Hour

// keyTurns is how long it takes until what is said of a device's key turns by time
// alone; 0 where that is not before the next look at all devices.
func keyTurns(d *fleet.Device, now time.Time) time.Duration {
	turns := status.KeyTurns(attention.KeyExpires(d), now)
	if turns == 0 || turns > keyLook {
		return 0
	}
	// A status is made as of the second that has begun.
	return turns + time.Second
}

// watchKeys marks, once an hour, the devices whose key's standing turns within the
// hour: nothing happens to them then that would have their status written.
func (c *Controller) watchKeys(ctx context.Context) {
	tick := time.NewTicker(keyLook)
	defer tick.Stop()
	for last := c.options.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := c.options.Now()
		var due []string
		c.options.Do(func(s *decide.State) {
			for id, d := range s.View().Devices {
				// Those that turned since the look before are marked too: a clock that
				// jumped may have passed their moment.
				if turned := attention.KeyReason(attention.KeyExpires(d), now) != attention.KeyReason(attention.KeyExpires(d), last); turned || keyTurns(d, now) > 0 {
					due = append(due, id)
				}
			}
		})
		for _, id := range due {
			c.writer.Mark(id)
		}
		last = now
	}
}
