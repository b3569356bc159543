package dashboard

import "fleet.nationtech.io/operator/internal/dashboard/limit"

// FillSlots takes all slots in which pages are made.
func (d *Dashboard) FillSlots() (release func()) { return fill(d.slots) }

// FillOwn takes all slots in which pages are made for a person.
func (d *Dashboard) FillOwn(actor string) (release func()) {
	slots, done := d.own.Of(actor)
	free := fill(slots)
	return func() { free(); done() }
}

// FillReaders takes all slots in which histories are read.
func (d *Dashboard) FillReaders() (release func()) { return fill(d.readers) }

func fill(slots limit.Slots) (release func()) {
	for range cap(slots) {
		slots <- struct{}{}
	}
	return func() {
		for range cap(slots) {
			<-slots
		}
	}
}
