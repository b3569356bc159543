package eventlog

import "time"

// Position is a message of the log: its sequence, and when it was recorded, by
// which it is told from another that took its place. The zero Position is before
// the first.
type Position struct {
	Sequence uint64
	Recorded time.Time
}
