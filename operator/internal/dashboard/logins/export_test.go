package logins

// Sweep closes what is idle, as Run does.
func (p *Pool) Sweep() { p.sweep() }
