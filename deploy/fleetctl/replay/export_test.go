package replay

import "fleet.nationtech.io/projections/fleet"

// At is where in the log a player is, and the view there.
func (p *Player) At() (uint64, *fleet.View) { return p.at, p.view }

// Held is how many frames and bytes of snapshots a player holds.
func (p *Player) Held() (frames, bytes int) { return len(p.window.frames), p.snapshots.bytes }

// Seconds is the clock of a player, in seconds of history since it began.
func (p *Player) Seconds() float64 { return p.clock.Sub(p.span.Began).Seconds() }
