package backup

import (
	"time"
)

// Impatient gives up a store's silence sooner.
func Impatient(p Place, timeout time.Duration) Place {
	s := p.(*s3)
	s.transport.silence = timeout
	return s
}

// Surplus is the retention's rule over a place's files.
func Surplus(r Retention, files []File, logID string, now time.Time) (names []string) {
	for _, a := range r.Surplus(archivesOf(files), logID, now) {
		names = append(names, a.Name)
	}
	return names
}

// PrivateDir is a directory of this user's own below another.
func PrivateDir(base string) (string, error) { return privateDir(base) }
