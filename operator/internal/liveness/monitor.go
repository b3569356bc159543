package liveness

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// PulseSource is where pulses are heard.
type PulseSource interface {
	// Subscribe calls pulse for each pulse of a device, with its payload, and connected with true
	// whenever pulses are received (again) and with false when the connection is
	// lost, until the context ends.
	Subscribe(ctx context.Context, pulse func(device string, payload []byte), connected func(bool)) error
}

// Listener is told what the devices that the log knows say with their pulses. It must not wait.
type Listener interface {
	Heard(device string, payload []byte, now time.Time)
	// Forget is told that a device left, or cleared what it reported.
	Forget(device string)
}

// Monitor shares a Tracker and keeps its time.
type Monitor struct {
	source   PulseSource
	interval time.Duration
	turned   func(devices []string)
	listener Listener // nil: nobody is told

	mu        sync.Mutex
	tracker   *Tracker
	connected bool
}

// NewMonitor wires a monitor. turned is given the devices whose verdicts changed; it
// must not wait. listener, if any, is told what known devices say.
func NewMonitor(source PulseSource, interval time.Duration, turned func([]string), listener Listener) *Monitor {
	return &Monitor{source: source, interval: interval, turned: turned, listener: listener, tracker: NewTracker(interval, time.Now())}
}

// Run listens until the context ends.
func (m *Monitor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- m.source.Subscribe(ctx, m.pulse, m.connection) }()
	tick := time.NewTicker(Resolution(m.interval))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			m.expire(now)
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("receive the devices' pulse: %w", err)
			}
			return nil
		}
	}
}

// Listen gives every device its whole timeout again: leadership was gained.
func (m *Monitor) Listen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.connected {
		m.tracker.Listen(time.Now())
	}
}

// Timeout is how long a device may be silent before it counts as offline.
func (m *Monitor) Timeout() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tracker.base
}

// State is what the log knows of the devices.
type State interface {
	Do(fn func(*decide.State))
}

// Follow makes the monitor watch the devices that the log knows, and those alone. It
// gives the devices whose presence the log records otherwise than the pulse says.
func (m *Monitor) Follow(s State, ids []string) (differ []string) {
	type known struct {
		id       string
		presence fleet.Presence
		gone     bool // it never reported, or cleared what it reported
		left     bool
	}
	devices := make([]known, 0, len(ids))
	s.Do(func(s *decide.State) {
		for _, id := range ids {
			if d := s.View().Devices[id]; d != nil {
				devices = append(devices, known{id, d.Presence, d.Info == nil && !d.Registered, d.Decommissioned})
			}
		}
	})
	for _, d := range devices {
		switch {
		case d.left:
			m.Leave(d.id)
		case d.gone:
			m.Forget(d.id)
		case m.Know(d.id, d.presence):
			differ = append(differ, d.id)
		}
	}
	return differ
}

// Know makes sure that a device is watched, with the log's verdict about it. It
// says whether the log is owed another.
func (m *Monitor) Know(id string, p fleet.Presence) (differs bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tracker.Know(id, p, time.Now())
	v := m.tracker.Verdict(id)
	return v.Online != fleet.OnlineUnknown && v.Online != p.Online
}

// Forget ends the watch of a device.
func (m *Monitor) Forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tracker.Forget(id)
	if m.listener != nil {
		m.listener.Forget(id)
	}
}

// Leave ends the watch of a device that left the fleet, whether it pulses or not.
func (m *Monitor) Leave(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tracker.Leave(id)
	if m.listener != nil {
		m.listener.Forget(id)
	}
}

// Verdict gives what is known of a device's pulse.
func (m *Monitor) Verdict(id string) decide.Verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tracker.Verdict(id)
}

func (m *Monitor) pulse(id string, payload []byte) {
	now := time.Now()
	m.mu.Lock()
	turned := m.tracker.Pulse(id, now)
	if m.listener != nil && m.tracker.Known(id) { // under the lock, so that a device that left stays forgotten
		m.listener.Heard(id, payload, now)
	}
	m.mu.Unlock()
	if turned {
		m.turned([]string{id})
	}
}

func (m *Monitor) connection(up bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connected = up
	if up {
		m.tracker.Listen(time.Now())
	} else {
		m.tracker.Disconnected()
	}
}

func (m *Monitor) expire(now time.Time) {
	m.mu.Lock()
	offline := m.tracker.Expire(now)
	m.mu.Unlock()
	if len(offline) > 0 {
		m.turned(offline)
	}
}
