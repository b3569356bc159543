package doctor

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Clock is that of one NATS server, held against this machine's.
type Clock struct {
	Server string // its name
	// Ahead is how far it is ahead of this machine's, and Blur how far that may be wrong.
	Ahead, Blur time.Duration
}

// Member is what one NATS server says of itself. It says so in the servers' own account, and to
// whoever reaches its monitoring port.
type Member struct {
	Clock
	// Synced says whether it writes each message through to its disk before it acknowledges it.
	Synced bool
	// Interval is how often it writes to its disk what it has not written through.
	Interval time.Duration
	// Room is what it may store on its disk.
	Room Room
	// Streams are those of which it has a replica.
	Streams []Stream
}

// Room is how much may be stored, in bytes, and how much is.
type Room struct {
	Used  uint64
	Limit uint64 // 0: there is none
	// Promised is what all streams may have together: of each its limit, or what it has where
	// that is more or where it has no limit.
	Promised uint64
}

// Stream is how much one stream has on a server, and how much it may have, in bytes.
type Stream struct {
	Name     string
	Bytes    uint64
	MaxBytes uint64 // 0: it has no limit
	// Drops says that it drops its oldest messages at its limit, and refuses none.
	Drops bool
	// Memory says that it is kept in memory, and not on the disk.
	Memory bool
}

// Promised is what some streams may have together on the disk, in bytes.
func Promised(streams []Stream) (sum uint64) {
	for _, s := range streams {
		if !s.Memory {
			sum += max(s.Bytes, s.MaxBytes)
		}
	}
	return sum
}

// members are what servers said of themselves, by whichever way, each once, in the order of
// their names.
func (f Facts) members() []Member {
	all := map[string]Member{}
	if f.Kubernetes != nil {
		for _, m := range f.Kubernetes.Members {
			all[m.Server] = m
		}
	}
	for _, m := range f.Members {
		all[m.Server] = m
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Member) int { return cmp.Compare(a.Server, b.Server) })
}

// servers is how many NATS servers are known, in whichever way.
func (f Facts) servers() int {
	n := len(f.members())
	if s := f.Server; s != nil {
		n = max(n, s.Members, len(s.Names))
	}
	if k := f.Kubernetes; k != nil {
		n = max(n, k.Servers)
	}
	return n
}

// clocks are those of all servers whose time is known, each as exactly as it is, in the order of
// the servers' names.
func (f Facts) clocks() []Clock {
	all := map[string]Clock{}
	add := func(c Clock) {
		if have, known := all[c.Server]; !known || c.Blur < have.Blur {
			all[c.Server] = c
		}
	}
	for _, c := range f.Clocks {
		add(c)
	}
	for _, m := range f.members() {
		add(m.Clock)
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Clock) int { return cmp.Compare(a.Server, b.Server) })
}

// streams are those that are known, each with the most that a server has of it, in the order of
// their names.
func (f Facts) streams() []Stream {
	all := map[string]Stream{}
	add := func(s Stream) {
		if have, known := all[s.Name]; !known || s.Bytes > have.Bytes {
			all[s.Name] = s
		}
	}
	for _, s := range f.Streams {
		add(s)
	}
	for _, m := range f.members() {
		for _, s := range m.Streams {
			add(s)
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Stream) int { return cmp.Compare(a.Name, b.Name) })
}
