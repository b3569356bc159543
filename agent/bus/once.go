package bus

import "sync"

// maxOnce is how many messages a Once remembers: more than two connections can
// have on their way to one device.
const maxOnce = 4096

// Once tells a message from its second delivery, on the other connection. What is
// the same in both deliveries of a command is its reply subject, which the
// servers make for each request that crosses accounts.
type Once struct {
	mu    sync.Mutex
	seen  map[string]bool
	order []string
	next  int
}

// First says whether a message of this subject and reply is heard for the first
// time.
func (o *Once) First(subject, reply string) bool {
	key := subject + " " + reply
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[key] {
		return false
	}
	if o.seen == nil {
		o.seen = map[string]bool{}
	}
	o.seen[key] = true
	if len(o.order) < maxOnce {
		o.order = append(o.order, key)
		return true
	}
	delete(o.seen, o.order[o.next])
	o.order[o.next] = key
	o.next = (o.next + 1) % maxOnce
	return true
}
