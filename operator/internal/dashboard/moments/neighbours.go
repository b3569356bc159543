package moments

import (
	"context"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// Neighbours are the events around a moment that changed what is shown there; 0: there is
// none.
type Neighbours struct {
	Before  uint64 // the one before Current
	Current uint64 // the last one up to the moment
	After   uint64 // the first one after it
}

// Neighbours gives those of a sequence, on some subjects of the log; without subjects, on
// all. last is the log's end: nothing comes after that.
func (m *Moments) Neighbours(ctx context.Context, at, last uint64, subjects []string) (n Neighbours, err error) {
	if len(subjects) == 0 {
		n.Before, n.Current = max(at, 1)-1, at
		if at < last {
			n.After = at + 1
		}
		return n, nil
	}
	if n, ok := m.around(at, subjects); ok {
		if n.After == 0 {
			n.After, err = m.After(ctx, at, last, subjects)
		}
		return n, err
	}
	if n.After, err = m.After(ctx, at, last, subjects); err != nil {
		return n, err
	}
	for _, subject := range subjects {
		current, err := m.lastBefore(ctx, subject, at+1)
		if err != nil {
			return n, err
		}
		n.Current = max(n.Current, current)
	}
	for _, subject := range subjects {
		before, err := m.lastBefore(ctx, subject, n.Current)
		if err != nil {
			return n, err
		}
		n.Before = max(n.Before, before)
	}
	return n, nil
}

// around gives what the newest events of the log know of Neighbours.
func (m *Moments) around(at uint64, subjects []string) (Neighbours, bool) {
	m.mu.Lock()
	l := m.live
	m.mu.Unlock()
	if l == nil {
		return Neighbours{}, false
	}
	return l.newest.around(at, subjects)
}

// After is that of Neighbours alone, for a caller that has read what went before.
func (m *Moments) After(ctx context.Context, at, last uint64, subjects []string) (uint64, error) {
	first := uint64(0)
	if at >= last {
		return 0, nil
	}
	for _, subject := range subjects {
		after, _, err := reader.Ahead(ctx, m.js, subject, at+1)
		if err != nil {
			return 0, err
		}
		if after > 0 && (first == 0 || after < first) {
			first = after
		}
	}
	return first, nil
}

// lastBefore gives the sequence of the last event on a subject before a sequence; 0: there
// is none. The server finds the next event only, so the distance is found by doubling, and
// the place within it by halving.
func (m *Moments) lastBefore(ctx context.Context, subject string, at uint64) (uint64, error) {
	newest, err := reader.LastSequence(ctx, m.js, eventlog.LogStream, subject)
	if err != nil || newest < at {
		return newest, err
	}
	from := func(sequence uint64) (events uint64, err error) {
		_, events, err = reader.Ahead(ctx, m.js, subject, sequence)
		return events, err
	}
	rest, err := from(at)
	if err != nil {
		return 0, err
	}
	low, high := uint64(0), at // none is from high on and before at
	for width := uint64(1); low != 1; width *= 4 {
		if high = at; low > 0 {
			high = low
		}
		low = 1
		if width+1 < at {
			low = at - width
		}
		n, err := from(low)
		if err != nil {
			return 0, err
		}
		if n > rest {
			break
		}
		if low == 1 {
			return 0, nil
		}
	}
	for low+1 < high {
		middle := low + (high-low)/2
		n, err := from(middle)
		if err != nil {
			return 0, err
		}
		if n > rest {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}
