package health

import "time"

// resyncGrace is how long a person who rebuilt desired-state has to tell devices to
// sync before the operator does it.
const resyncGrace = 5 * time.Second

// resyncDue says when devices must be told to sync, because desired-state was put in
// service again without telling them what is in it.
type resyncDue struct {
	due   chan string // after which rebuild
	after string      // the rebuild after which devices were not told yet
	since time.Time   // when that was seen first
}

func newResyncDue(rebuilt bool) *resyncDue {
	r := &resyncDue{due: make(chan string, 1)}
	if rebuilt {
		r.since = time.Now().Add(-resyncGrace)
	}
	return r
}

// note takes what the bucket's metadata says: after which rebuild devices were not told
// to sync yet; empty where they were.
func (r *resyncDue) note(after string) {
	if after == "" {
		return
	}
	if r.after != after {
		if r.after != "" || r.since.IsZero() {
			r.since = time.Now()
		}
		r.after = after
	}
	if time.Since(r.since) < resyncGrace {
		return
	}
	select {
	case r.due <- after:
	default: // devices are being told
	}
}

// now takes the same after the operator itself repaired the bucket: nobody else tells
// devices.
func (r *resyncDue) now(after string) {
	r.after, r.since = "", time.Now().Add(-resyncGrace)
	r.note(after)
}
