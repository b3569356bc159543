package trace

// Followed is how many assignments the fold follows.
func (f *Fold) Followed() int { return len(f.assigned) }
