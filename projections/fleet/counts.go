package fleet

// change runs a mutation of a pair between taking it out of its Deployment's
// counts and putting it back, so that counting costs what changed and never the
// number of devices.
func (v *View) change(p *Assignment, mutate func()) {
	before := p.Deployment
	if before != nil {
		before.Counts.add(p, -1)
	}
	wasFailed, was := p.Failed(), p.verdict()
	mutate()
	if is := p.verdict(); is != was {
		p.Since, p.Returned = MomentOf(v.Clock), false
		if is == succeeded {
			p.Lost, p.WrittenOff = false, false
			v.countSuccess(p)
		}
	}
	if d := p.Deployment; d != nil {
		d.Counts.add(p, +1)
		switch failed := p.Failed(); {
		case failed:
			if !d.staleError {
				d.lastFailed = newest(d.lastFailed, p)
			}
		case wasFailed && d.lastFailed == p:
			d.staleError = true
		}
		v.touchDeployment(d)
	}
	v.touchDevice(p.Device)
}

// countSuccess counts a pair that its Deployment's run gave and that succeeded, once.
func (v *View) countSuccess(p *Assignment) {
	if d := p.Deployment; d != nil && !p.Counted && p.Desired.Changed > d.Run.ID && d.Run.ID > 0 {
		p.Counted = true
		d.Run.Succeeded++
	}
}

// verdict is what a pair's report says of what is desired.
type verdict int8

const (
	neither verdict = iota
	succeeded
	failed
)

func (p *Assignment) verdict() verdict {
	switch {
	case p.Succeeded():
		return succeeded
	case p.Failed():
		return failed
	}
	return neither
}

func newest(a, b *Assignment) *Assignment {
	if a == nil || b.Reported.Sequence > a.Reported.Sequence {
		return b
	}
	return a
}

func (v *View) changePresence(dev *Device, to Presence) {
	for _, p := range dev.pairs {
		if p.Deployment != nil {
			p.Deployment.Counts.add(p, -1)
		}
	}
	was := dev.Presence.Online
	dev.Presence = to
	for _, p := range dev.pairs {
		if was != to.Online {
			v.turned(p, to.Online)
		}
		if p.Deployment != nil {
			p.Deployment.Counts.add(p, +1)
			v.touchDeployment(p.Deployment)
		}
	}
}

// turned: the device of a pair came online or went offline.
func (v *View) turned(p *Assignment, online Online) {
	if online == OnlineTrue {
		p.Lost, p.WrittenOff = false, false
		if p.Succeeded() {
			p.Since, p.Returned = MomentOf(v.Clock), true // what it did unheard does not count
		}
		return
	}
	p.Lost = p.Deployment != nil && p.Upset && !p.Succeeded()
}

func (c *Counts) add(p *Assignment, n int) {
	c.Matched += n
	updated := p.Updated()
	if updated {
		c.Updated += n
	}
	offline := p.Device.Presence.Online == OnlineFalse
	switch {
	case p.Succeeded():
		c.Succeeded += n
		return
	case p.Failed():
		c.Failed += n
		if !offline {
			c.FailedOnline += n
		}
	default:
		c.Pending += n
	}
	if offline {
		c.Offline += n
	}
}

// CountDevices counts the registered devices, and those of them that are online.
func (v *View) CountDevices() (registered, online int) {
	for _, d := range v.Devices {
		if !d.Registered {
			continue
		}
		registered++
		if d.Presence.Online == OnlineTrue {
			online++
		}
	}
	return registered, online
}
