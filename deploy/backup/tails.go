package backup

import (
	"context"
	"errors"
	"time"

	"fleet.nationtech.io/eventlog"
)

// tails are the last events of older archives of a log, as their marks name them. A log
// that lost its tail, as after a power cut of a server that does not sync each append,
// keeps its id; an older archive is then all that is left of those events.
type tails struct {
	older    []marked
	unmarked map[string]bool      // archives whose mark cannot be read
	seen     map[uint64]time.Time // sequences of the last events, and when the log recorded them; zero: it has none
}

// marked is an archive with its mark.
type marked struct {
	name string
	mark
}

// readTails reads the marks of a log's archives; of the newest one alone where all is not
// set. It fails with the errors of a place.
func readTails(ctx context.Context, place Place, files []File, logID string, all bool) (*tails, error) {
	t := &tails{unmarked: map[string]bool{}, seen: map[uint64]time.Time{}}
	for _, a := range archivesOf(files) {
		if a.LogID != logID || !a.Verified {
			continue
		}
		m, err := readMark(ctx, place, a.Name)
		switch {
		case errors.Is(err, errNoMark):
			t.unmarked[a.Name] = true
			continue
		case errors.Is(err, ErrMissing):
			continue // another run removed it
		case err != nil:
			return t, err
		}
		t.older = append(t.older, marked{a.Name, m})
		t.seen[m.Last] = time.Time{}
		if !all {
			break
		}
	}
	return t, nil
}

// note takes an event of the log as it is now.
func (t *tails) note(e eventlog.Event) {
	if _, ok := t.seen[e.Sequence]; ok {
		t.seen[e.Sequence] = e.Recorded
	}
}

// lost gives the archives whose last event is no longer in the log, once all of its
// events are noted: at its sequence stands nothing, or an event of another time.
func (t *tails) lost() (lost []marked) {
	for _, m := range t.older {
		at := t.seen[m.Last]
		if at.IsZero() || !m.LastTime.IsZero() && !m.LastTime.Equal(at) {
			lost = append(lost, m)
		}
	}
	return lost
}
