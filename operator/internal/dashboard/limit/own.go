package limit

import "sync"

// Own are slots of which each person has so many, so that one person's requests leave to others of
// those that are for all.
type Own struct {
	each int

	mu      sync.Mutex
	byActor map[string]*own
}

// own are one person's slots.
type own struct {
	slots Slots
	users int // that have them, or wait for one
}

// NewOwn gives each person so many slots, all of them free.
func NewOwn(each int) *Own { return &Own{each: each, byActor: map[string]*own{}} }

// Of gives a person's slots. The caller calls done once it has released what it took of them.
func (o *Own) Of(actor string) (slots Slots, done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	of := o.byActor[actor]
	if of == nil {
		of = &own{slots: NewSlots(o.each)}
		o.byActor[actor] = of
	}
	of.users++
	return of.slots, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if of.users--; of.users == 0 {
			delete(o.byActor, actor)
		}
	}
}
