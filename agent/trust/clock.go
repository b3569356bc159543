// Package trust decides which servers the agent believes: their certificates,
// and the time at which a device that may not know the time judges them.
package trust

import (
	"sync"
	"time"
)

// clockTolerance is how far the provider lets a clock be ahead; a difference up
// to it needs no correction.
const clockTolerance = time.Second

// Clock is the best time that the device knows. A device without a battery for
// its clock wakes up in 1970, or when it was last switched off. The zero value
// works with the system's clock; methods may be used from several goroutines.
//
// Guarantee: neither ForCertificates nor what it learned ever goes back below a
// time that was proven.
type Clock struct {
	// System is the device's clock; nil is time.Now. Its times should have a
	// monotonic reading.
	System func() time.Time

	mu    sync.Mutex
	floor time.Time // it is not earlier than this
	said  time.Time // what the provider's clock said last,
	heard time.Time // and the system's clock at that moment
}

func (c *Clock) system() time.Time {
	if c.System == nil {
		return time.Now()
	}
	return c.System()
}

// Now is the time by the provider's clock, where that is known and differs from
// the system's by more than a second; else the system's.
func (c *Clock) Now() time.Time {
	now := c.system()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said.IsZero() {
		if now.Before(c.floor) {
			return c.floor
		}
		return now
	}
	// Sub uses the monotonic clock, so that a jump of the system's clock between
	// the two moments changes nothing.
	provider := c.said.Add(now.Sub(c.heard))
	if d := provider.Sub(now.Round(0)); d > clockTolerance || d < -clockTolerance {
		return provider
	}
	return now
}

// ForCertificates is the moment at which certificates are judged: the later of
// the system's clock and the newest time known otherwise.
func (c *Clock) ForCertificates() time.Time {
	now := c.system()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.floor) {
		return c.floor
	}
	return now
}

// Heard takes the provider's time, which came just now. believed says that the
// answer came over a connection whose server was verified: only then may
// certificates be judged by it. It says whether this changed Now by more than a
// second.
func (c *Clock) Heard(date time.Time, believed bool) (corrected bool) {
	before := c.Now()
	now := c.system()
	c.mu.Lock()
	c.said, c.heard = date, now
	if believed && date.After(c.floor) {
		c.floor = date
	}
	c.mu.Unlock()
	d := c.Now().Sub(before)
	return d > clockTolerance || d < -clockTolerance
}

// AtLeast says that a time has surely passed.
func (c *Clock) AtLeast(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.floor) {
		c.floor = t
	}
}
