package fleet

// Changes remembers which Deployments and devices of a view changed.
type Changes struct {
	deployments map[*Deployment]struct{}
	devices     map[*Device]struct{}
}

// Drain gives the Deployments and devices that changed since it was last called, and
// forgets them.
func (c *Changes) Drain() (deployments []Key, devices []string) {
	for d := range c.deployments {
		deployments = append(deployments, d.Key)
	}
	for d := range c.devices {
		devices = append(devices, d.ID)
	}
	empty(&c.deployments)
	empty(&c.devices)
	return deployments, devices
}

// empty empties a map. One that was large is made anew: to look through it would cost
// as much for ever.
func empty[K comparable](m *map[K]struct{}) {
	if len(*m) > 1024 {
		*m = map[K]struct{}{}
		return
	}
	clear(*m)
}

// Watch makes the view remember what Apply changes, for one who asks.
func (v *View) Watch() *Changes {
	c := &Changes{deployments: map[*Deployment]struct{}{}, devices: map[*Device]struct{}{}}
	v.watchers = append(v.watchers, c)
	return c
}

// Track makes the view remember what Apply changes, for Drain.
func (v *View) Track() {
	if v.changes == nil {
		v.changes = v.Watch()
	}
	v.changes.Drain()
}

// Drain gives the Deployments and devices that changed since it was last
// called, and forgets them. Without Track it gives none.
func (v *View) Drain() (deployments []Key, devices []string) {
	if v.changes == nil {
		return nil, nil
	}
	return v.changes.Drain()
}
