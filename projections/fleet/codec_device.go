package fleet

import (
	"encoding/binary"
	"maps"
	"slices"

	"fleet.nationtech.io/eventlog"
)

// What of a device is there, as bits.
const (
	hasInfo = 1 << iota
	hasAccess
	isRegistered
	isDecommissioned
	isLeaving
	hasAccessRequest
)

func (w *writer) device(d *Device) {
	w.text(d.ID)
	var has uint64
	if d.Info != nil {
		has |= hasInfo
	}
	if d.Access != nil {
		has |= hasAccess
	}
	if d.Registered {
		has |= isRegistered
	}
	if d.Decommissioned {
		has |= isDecommissioned
	}
	if d.Leaving != nil {
		has |= isLeaving
	}
	if d.AccessRequest != nil {
		has |= hasAccessRequest
	}
	w.uint(has)
	w.time(d.RegisteredAt)
	if d.Leaving != nil {
		w.request(d.Leaving)
	}
	if d.AccessRequest != nil {
		w.request(d.AccessRequest)
	}
	w.uint(uint64(len(d.Late)))
	for _, name := range d.Late {
		w.word(name)
	}
	w.uint(d.InfoSequence)
	if d.Info != nil {
		w.info(d.Info)
	}
	w.uint(uint64(len(d.Labels)))
	for _, k := range slices.Sorted(maps.Keys(d.Labels)) {
		w.word(k)
		w.word(d.Labels[k].Value)
		w.word(d.Labels[k].Owner)
	}
	w.text(d.LabelsID)
	w.uint(d.LabelsSequence)
	w.word(string(d.Presence.Online))
	w.word(d.Presence.Reason)
	w.time(d.Presence.LastSeen)
	w.time(d.Presence.Since)
	if d.Access != nil {
		w.json(d.Access)
	}
	w.identity(&d.Identity)
	w.uint(uint64(d.Traffic.level))
	w.int(d.Traffic.last)
	w.uint(d.LastDesired)
	w.uint(uint64(len(d.pairs)))
	for _, p := range d.pairs {
		w.pair(p)
	}
}

func (r *reader) device(v *View) *Device {
	d := r.devices.next()
	d.ID = r.text()
	has := r.uint()
	d.Registered, d.Decommissioned = has&isRegistered != 0, has&isDecommissioned != 0
	d.RegisteredAt = r.time()
	if has&isLeaving != 0 {
		d.Leaving = r.request()
	}
	if has&hasAccessRequest != 0 {
		d.AccessRequest = r.request()
	}
	r.late(d)
	d.InfoSequence = r.uint()
	if has&hasInfo != 0 {
		d.Info = r.info(d.ID)
	}
	d.Labels = r.owned()
	d.LabelsID, d.LabelsSequence = r.text(), r.uint()
	d.Presence = Presence{Online: Online(r.word()), Reason: r.word(), LastSeen: r.time(), Since: r.time()}
	if has&hasAccess != 0 {
		d.Access = &eventlog.Access{}
		r.json(d.Access)
	}
	d.Identity = r.identity()
	d.Traffic.level = min(int64(r.uint()), 2*TrafficBurst)
	d.Traffic.last = r.int()
	d.LastDesired = r.uint()
	n := r.count()
	d.pairs = make([]*Assignment, 0, n)
	for i := range n {
		p := r.pair(v, d)
		if i > 0 && p.Name <= d.pairs[i-1].Name {
			r.fail("deployment %q on device %q is out of order", p.Name, d.ID)
			break
		}
		d.pairs = append(d.pairs, p)
		d.count(p, +1)
	}
	return d
}

func (r *reader) late(d *Device) {
	n := r.count()
	if n > MaxLate {
		r.fail("%d late reports of device %q", n, d.ID)
		return
	}
	for range n {
		name := r.word()
		if k := len(d.Late); k > 0 && name <= d.Late[k-1] {
			r.fail("late report %q of device %q is out of order", name, d.ID)
			return
		}
		d.Late = append(d.Late, name)
	}
}

func (w *writer) info(i *eventlog.DeviceInfo) {
	w.text(i.DeviceID)
	w.time(i.UpdatedAt)
	w.time(i.KeyExpires)
	w.uint(uint64(len(i.Labels)))
	for _, k := range slices.Sorted(maps.Keys(i.Labels)) {
		w.word(k)
		w.word(i.Labels[k])
	}
	n := &i.Inventory
	w.text(n.Hostname)
	for _, s := range [...]string{n.Arch, n.OS, n.Kernel, n.AgentVersion, n.PodmanVersion} {
		w.word(s)
	}
	w.int(int64(n.CPUCores))
	w.int(int64(n.MemoryMB))
}

func (r *reader) info(device string) *eventlog.DeviceInfo {
	i := r.infos.next()
	i.DeviceID, i.UpdatedAt, i.KeyExpires = r.textLike(device), r.time(), r.time()
	i.Labels = r.labels()
	n := &i.Inventory
	n.Hostname = r.textLike(device)
	for _, s := range [...]*string{&n.Arch, &n.OS, &n.Kernel, &n.AgentVersion, &n.PodmanVersion} {
		*s = r.word()
	}
	n.CPUCores, n.MemoryMB = int(r.int()), int(r.int())
	return i
}

func (w *writer) identity(i *Identity) {
	w.uint(i.Repeats)
	w.uint(i.Gaps)
	w.time(i.Alternated)
	var before []epoch
	if i.before != nil {
		before = *i.before
	}
	w.epoch(i.now)
	w.uint(uint64(len(before)))
	for _, e := range before {
		w.epoch(e)
	}
}

func (r *reader) identity() Identity {
	i := Identity{Repeats: r.uint(), Gaps: r.uint(), Alternated: r.time(), now: r.epoch()}
	n := r.count()
	if n >= maxEpochs {
		r.fail("%d epochs of one device", n+1)
		return i
	}
	if n > 0 {
		before := make([]epoch, n)
		for k := range before {
			before[k] = r.epoch()
		}
		i.before = &before
	}
	return i
}

// An epoch's id is a hash: as a number it would take more than its eight bytes.
func (w *writer) epoch(e epoch) {
	w.b = binary.LittleEndian.AppendUint64(w.b, e.id)
	w.uint(e.n)
}

func (r *reader) epoch() epoch {
	if len(r.b) < 8 {
		r.fail("it ends within a number")
		return epoch{}
	}
	e := epoch{id: binary.LittleEndian.Uint64(r.b)}
	r.b = r.b[8:]
	e.n = r.uint()
	return e
}

// What of a pair is there, as bits.
const (
	isAssigned = 1 << iota
	hasDesired
	hasReported
	isToldHash // what it reports is the hash that it was told
	isOld      // what it reports
	isRendered // what is desired, for the device
)

// phases numbers what a report can say.
var phases = [...]eventlog.Phase{"", eventlog.PhasePending, eventlog.PhaseRunning, eventlog.PhaseFailed}

func (w *writer) pair(p *Assignment) {
	var has uint64
	if p.Deployment != nil {
		has |= isAssigned
	}
	if p.Desired != (Desired{}) {
		has |= hasDesired
	}
	if p.Reported != (Reported{}) {
		has |= hasReported
	}
	if p.Reported.Hash == p.Desired.Hash {
		has |= isToldHash
	}
	if p.old {
		has |= isOld
	}
	if p.Desired.Template != nil {
		has |= isRendered
	}
	w.word(p.Namespace)
	w.word(p.Name)
	w.uint(has)
	if d := &p.Desired; has&hasDesired != 0 {
		w.uint(d.Sequence)
		w.uint(d.Sequence - d.Changed)
		if has&isRendered != 0 {
			w.text(d.Hash) // few devices share it
			w.word(*d.Template)
		} else {
			w.word(d.Hash)
		}
		w.uint(d.Revision)
		w.moment(d.At)
		w.moment(d.Recorded)
	}
	if s := &p.Reported; has&hasReported != 0 {
		w.uint(s.Sequence)
		w.uint(uint64(max(0, slices.Index(phases[:], s.Phase))))
		if has&isToldHash == 0 {
			w.word(s.Hash)
		}
		w.word(s.Reason)
		w.word(s.Error)
		w.uint(s.Revision)
		w.uint(s.Assignment)
		w.moment(s.At)
		w.moment(s.Recorded)
	}
	w.part(p)
}

func (r *reader) pair(v *View, dev *Device) *Assignment {
	p, k := r.pairs.next(), Key{r.word(), r.word()}
	d := v.Deployments[k]
	if p.Device = dev; d != nil {
		p.Key = &d.Key
	} else {
		p.Key = v.key(k)
	}
	has := r.uint()
	if has&hasDesired != 0 {
		p.Desired = Desired{Sequence: r.uint()}
		d := &p.Desired
		d.Changed = d.Sequence - r.uint()
		if has&isRendered != 0 {
			hash, template := r.text(), r.word()
			d.Hash, d.Template = hash, &template
		} else {
			d.Hash = r.word()
		}
		d.Revision, d.At, d.Recorded = r.uint(), r.moment(), r.moment()
	}
	if has&hasReported != 0 {
		s := &p.Reported
		s.Sequence, p.old = r.uint(), has&isOld != 0
		if n := r.uint(); n < uint64(len(phases)) {
			s.Phase = phases[n]
		} else {
			r.fail("phase %d", n)
		}
		s.Hash = p.Desired.Hash
		if has&isToldHash == 0 {
			s.Hash = r.word()
		}
		s.Reason, s.Error, s.Revision, s.Assignment = r.word(), r.word(), r.uint(), r.uint()
		s.At, s.Recorded = r.moment(), r.moment()
	}
	r.part(p)
	if has&isAssigned == 0 {
		return p
	}
	if d == nil {
		r.fail("device %q is assigned %s, which is not there", dev.ID, p.Key)
		return p
	}
	// Counts follow from the pairs: they cannot disagree if they are not written.
	d.attach(p)
	d.Counts.add(p, +1)
	if p.Failed() {
		d.lastFailed = newest(d.lastFailed, p)
	}
	return p
}
