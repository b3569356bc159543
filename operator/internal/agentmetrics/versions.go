package agentmetrics

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/fleet"
)

// Versions counts the registered devices by the version of their agent, as the log is folded.
type Versions struct {
	mu      sync.Mutex
	devices map[string]string // the version of each device that counts
	counts  map[string]int
}

var _ state.Witness = (*Versions)(nil)

// NewVersions makes one of a fleet without devices.
func NewVersions() *Versions {
	return &Versions{devices: map[string]string{}, counts: map[string]int{}}
}

// Begun implements state.Witness.
func (c *Versions) Begun(v *fleet.View) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.devices, c.counts = make(map[string]string, len(v.Devices)), map[string]int{}
	for id, d := range v.Devices {
		c.count(id, d)
	}
}

// Folded implements state.Witness.
func (c *Versions) Folded(v *fleet.View, e eventlog.Event, _ bool) {
	switch e.Type {
	case eventlog.InfoReported, eventlog.InfoCleared, eventlog.DeviceRegistered, eventlog.DeviceDecommissioned:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.count(e.Address.Device, v.Devices[e.Address.Device])
	}
}

// count brings the counts to what is known of a device, which may be nil.
func (c *Versions) count(id string, d *fleet.Device) {
	if before, counted := c.devices[id]; counted {
		delete(c.devices, id)
		if c.counts[before]--; c.counts[before] == 0 {
			delete(c.counts, before)
		}
	}
	if d != nil && d.Registered && d.Info != nil {
		version := d.Info.Inventory.AgentVersion
		c.devices[d.ID] = version
		c.counts[version]++
	}
}

// Counts are the devices of each version; of all but the most frequent versions together as Other.
func (c *Versions) Counts() map[string]int {
	c.mu.Lock()
	all := maps.Clone(c.counts)
	c.mu.Unlock()
	return few(all, mostVersions)
}

// mostVersions is how many versions of agents have a label value of their own.
const mostVersions = 20

// few keeps the most frequent names, and counts the rest, and what is no version, as Other: what
// devices say makes no label without end.
func few(all map[string]int, most int) map[string]int {
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a, b))
	})
	out := map[string]int{}
	for _, name := range names {
		as := name
		if len(out) >= most || name == "" || len(name) > 64 {
			as = other
		}
		out[as] += all[name]
	}
	return out
}
