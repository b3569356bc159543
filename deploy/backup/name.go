// Package backup keeps archives of the event log in a place, a directory or an
// S3-compatible store: it writes one, reads it back and verifies it, removes those that
// are neither among the newest nor young, and fetches one for a restore.
package backup

import (
	"cmp"
	"regexp"
	"slices"
	"time"
)

// Names of the files of a backup. A mark beside an archive says that the archive was
// read back whole from the place.
const (
	suffix     = ".archive"
	markSuffix = ".verified"
	timeForm   = "20060102T150405Z"
)

// form is the form of the names that this package gives. Nothing else is ever removed.
var form = regexp.MustCompile(`^fleet-([0-9A-Z]{26})-([0-9]{8}T[0-9]{6}Z)\.archive$`)

// NameOf is the name of the archive of a log that was made at a moment.
func NameOf(logID string, made time.Time) string {
	return "fleet-" + logID + "-" + made.UTC().Format(timeForm) + suffix
}

// parse reads a name that NameOf gave.
func parse(name string) (logID string, made time.Time, ok bool) {
	m := form.FindStringSubmatch(name)
	if m == nil {
		return "", time.Time{}, false
	}
	made, err := time.Parse(timeForm, m[2])
	return m[1], made, err == nil
}

// Archive is one in a place.
type Archive struct {
	Name     string    `json:"name"`
	LogID    string    `json:"log_id"`
	Made     time.Time `json:"made"`
	Size     int64     `json:"size"`
	Verified bool      `json:"verified"` // its mark is there
}

// archivesOf gives the archives among a place's files, the newest first.
func archivesOf(files []File) []Archive {
	marks := map[string]bool{}
	for _, f := range files {
		marks[f.Name] = true
	}
	var all []Archive
	for _, f := range files {
		if id, made, ok := parse(f.Name); ok {
			all = append(all, Archive{Name: f.Name, LogID: id, Made: made, Size: f.Size, Verified: marks[f.Name+markSuffix]})
		}
	}
	slices.SortFunc(all, func(a, b Archive) int { return cmp.Or(b.Made.Compare(a.Made), cmp.Compare(a.Name, b.Name)) })
	return all
}

// Retention says which archives are kept. The zero value keeps all.
type Retention struct {
	Count int           // the newest so many are kept; 0: their number keeps none
	Age   time.Duration // those that are younger are kept; 0: their age keeps none
}

// unfinished is how long an archive without a mark may be one that another run is
// writing.
const unfinished = 24 * time.Hour

// Surplus gives the archives of a log that are to be removed, the oldest first: those
// that are neither among the newest so many nor young enough. An archive that is not
// verified counts for nothing: it goes once it is a day old and a newer one is
// verified. The newest verified one stays, whatever the retention says. It is pure.
func (r Retention) Surplus(all []Archive, logID string, now time.Time) (gone []Archive) {
	if r.Count <= 0 && r.Age <= 0 {
		return nil
	}
	verified := 0
	for _, a := range all {
		switch {
		case a.LogID != logID:
			continue
		case !a.Verified:
			if verified > 0 && now.Sub(a.Made) > unfinished {
				gone = append(gone, a)
			}
			continue
		}
		verified++
		if verified == 1 || verified <= r.Count || r.Age > 0 && now.Sub(a.Made) < r.Age {
			continue
		}
		gone = append(gone, a)
	}
	slices.Reverse(gone)
	return gone
}
