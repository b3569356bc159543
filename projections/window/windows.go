package window

import (
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
)

// Windows are the windows of a Deployment: it is open while any of them is. None: always.
type Windows []Window

// ParseAll reads windows. It fails with a sentence about the first that is wrong.
func ParseAll(said []eventlog.Window) (Windows, error) {
	ws := make(Windows, 0, len(said))
	for i, s := range said {
		w, err := Parse(s)
		if err != nil {
			return nil, fmt.Errorf("windows[%d]: %w", i, err)
		}
		ws = append(ws, w)
	}
	return ws, nil
}

// horizon bounds how far a stretch of windows that go over into each other is followed.
const horizon = 24 * time.Hour

// State is how windows are at a moment.
type State struct {
	Open bool
	// Since is when they opened, where they are open. A stretch that is longer than a
	// day may have begun earlier. Zero: there is no window, and they are always open.
	Since time.Time
	// Until is when that ends, or a moment of an open stretch at which it has to be
	// asked again; the zero time: never.
	Until time.Time
}

// At tells how the windows are at a moment. A moment is in a window if the newest start
// at or before it is less than the duration ago.
func (ws Windows) At(t time.Time) State {
	if len(ws) == 0 {
		return State{Open: true}
	}
	since := ws.opened(t)
	if since.IsZero() {
		return State{Until: ws.next(t)}
	}
	for back := since; t.Sub(since) < horizon; since = back {
		if back = ws.opened(since.Add(-1)); back.IsZero() {
			break
		}
	}
	until := ws.closes(t)
	for until.Sub(t) < horizon {
		then := ws.closes(until)
		if !then.After(until) {
			break
		}
		until = then
	}
	return State{Open: true, Since: since, Until: until}
}

// Open says whether a moment is in a window.
func (ws Windows) Open(t time.Time) bool { return len(ws) == 0 || !ws.opened(t).IsZero() }

// opened gives the earliest of the starts whose windows a moment is in; the zero time: it
// is in none.
func (ws Windows) opened(t time.Time) (first time.Time) {
	for _, w := range ws {
		if at := w.newest(t, w.length); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// closes gives when the last of the windows closes that a moment is in, as far as their
// newest starts say; the moment itself where it is in none.
func (ws Windows) closes(t time.Time) time.Time {
	last := t
	for _, w := range ws {
		if at := w.newest(t, w.length); !at.IsZero() && at.Add(w.length).After(last) {
			last = at.Add(w.length)
		}
	}
	return last
}

func (ws Windows) next(t time.Time) (first time.Time) {
	for _, w := range ws {
		if at := w.next(t); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
