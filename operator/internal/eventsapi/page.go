package eventsapi

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
)

// Bounds of the work for one page. A page that meets them ends early and says where to go
// on. One that has nothing to give yet is read for longer, as it could not say where.
const (
	readTime  = 5 * time.Second
	firstTime = 20 * time.Second
	pageBytes = 8 << 20 // of data
	maxWindow = 1 << 13 // events that are looked through for a page at a time
)

// Page is a part of an answer: what was taken of each event.
type Page[T any] struct {
	Rows  []T
	Next  uint64 // the cursor of the next page; 0: there is none
	Last  uint64 // nothing after it was looked at
	Early bool   // the page ended before it was full, though there is more
}

// taken is what was taken of an event.
type taken[T any] struct {
	row      T
	sequence uint64
	size     int // of the data that was taken, in bytes
}

// span is where in the log the answer is: between two sequences, both included.
type span struct {
	subjects []string
	first    uint64
	last     uint64 // 0: nothing is there
	newest   uint64 // the last event on the subjects, by the word of the stream's leader
	log      logstream.Info
}

// locate finds out where the answer is.
func locate(ctx context.Context, js jetstream.JetStream, q *query) (span, error) {
	subjects, err := q.subjects()
	if err != nil {
		return span{}, err
	}
	s := span{subjects: subjects, first: max(1, q.from)}
	if s.log, err = logstream.Inspect(ctx, js); err != nil {
		return s, err
	}
	if len(subjects) == 0 {
		s.newest = s.log.Last
	}
	for _, subject := range subjects {
		n, err := reader.LastSequence(ctx, js, eventlog.LogStream, subject)
		if err != nil {
			return s, err
		}
		s.newest = max(s.newest, n)
	}
	s.last = s.newest
	if q.to > 0 {
		s.last = min(s.last, q.to)
	}
	if !q.since.IsZero() {
		n, err := reader.Since(ctx, js, q.since)
		if err != nil {
			return s, err
		}
		if n == 0 {
			s.last = 0
		}
		s.first = max(s.first, n)
	}
	if !q.until.IsZero() {
		n, err := reader.Since(ctx, js, q.until.Add(time.Nanosecond))
		if err != nil {
			return s, err
		}
		if n > 0 {
			s.last = min(s.last, n-1)
		}
	}
	if s.last < s.first {
		s.last = 0
	}
	return s, nil
}

// readPage reads one page. take gives what is wanted of an event, with how much data that has.
func readPage[T any](ctx context.Context, js jetstream.JetStream, s span, q *query, take func(*eventlog.Event, error) (T, int)) (Page[T], error) {
	now := time.Now()
	p := pager[T]{js: js, q: q, span: s, take: take, deadline: now.Add(readTime), latest: now.Add(firstTime)}
	if end, has := ctx.Deadline(); has && end.Add(-time.Second).Before(p.latest) {
		p.latest = end.Add(-time.Second) // there is time to say so
	}
	if s.last == 0 {
		return Page[T]{Last: s.newest}, nil
	}
	if q.ascending {
		return p.oldestFirst(ctx)
	}
	return p.newestFirst(ctx)
}

// pager reads one page.
type pager[T any] struct {
	span
	take     func(*eventlog.Event, error) (T, int)
	js       jetstream.JetStream
	q        *query
	deadline time.Time // when a page ends early
	latest   time.Time // when one ends that has nothing to give yet
}

// each reads the events that are asked for between two sequences, until fn says that it
// has enough or the time is up. through is the last sequence up to which all was looked at.
func (p *pager[T]) each(ctx context.Context, from, to uint64, most int, deadline time.Time, fn func(taken[T]) bool) (through uint64, err error) {
	o := reader.Options{From: from, Until: to, Subjects: p.subjects, LogID: p.log.ID, Direct: true, Most: most}
	through = from - 1
	for e, err := range reader.Read(ctx, p.js, o) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return through, err
		}
		if e.Sequence > to {
			return to, nil
		}
		through = e.Sequence
		if p.q.matches(&e) && (p.q.only == nil || p.q.only(&e, err)) {
			row, size := p.take(&e, err)
			if !fn(taken[T]{row, e.Sequence, size}) {
				return through, nil
			}
		}
		if time.Now().After(deadline) {
			return through, nil
		}
	}
	return to, nil
}

func (p *pager[T]) oldestFirst(ctx context.Context) (Page[T], error) {
	var rows []T
	size := 0
	most := p.q.limit
	if p.q.sieves() {
		most = max(most, MaxLimit)
	}
	through, err := p.each(ctx, p.first, p.last, most, p.deadline, func(r taken[T]) bool {
		rows = append(rows, r.row)
		size += r.size
		return len(rows) < p.q.limit && size < pageBytes
	})
	if err != nil {
		return Page[T]{}, err
	}
	out := Page[T]{Rows: rows, Last: p.last}
	if through < p.last {
		out.Next, out.Early = through, len(rows) < p.q.limit
	}
	return out, nil
}

// newestFirst reads windows of the log, the newest one first: a stream is read forwards
// only.
func (p *pager[T]) newestFirst(ctx context.Context) (Page[T], error) {
	out := Page[T]{Last: p.last}
	size := 0
	want := p.q.limit
	for to := p.last; to >= p.first; {
		from, err := p.window(ctx, to, want)
		if err != nil {
			return out, err
		}
		var rows []taken[T] // of the window, the last ones
		dropped, deadline := false, p.deadline
		if to == p.last {
			deadline = p.latest
		}
		through, err := p.each(ctx, from, to, want, deadline, func(r taken[T]) bool {
			rows = append(rows, r)
			size += r.size
			for len(rows) > p.q.limit-len(out.Rows) || size > pageBytes && len(rows) > 1 {
				size -= rows[0].size
				rows, dropped = rows[1:], true
			}
			return true
		})
		if err != nil {
			return out, err
		}
		if through < to { // the time is up before the window's end: it is as if it had not been read
			if to == p.last {
				return out, ErrTooSlow
			}
			out.Next, out.Early = to+1, true
			return out, nil
		}
		for _, r := range slices.Backward(rows) {
			out.Rows = append(out.Rows, r.row)
		}
		to = from - 1
		switch {
		case dropped || len(out.Rows) == p.q.limit && to >= p.first:
			out.Next = rows[0].sequence
			out.Early = len(out.Rows) < p.q.limit
			return out, nil
		case to >= p.first && (time.Now().After(p.deadline) || size > pageBytes):
			out.Next, out.Early = from, true
			return out, nil
		}
		want = min(4*want, maxWindow)
	}
	return out, nil
}

// ErrTooSlow says that not even a part of a page was read in time.
var ErrTooSlow = errors.New("nothing could be read in time: ask again, or about a Deployment or a device, or about less time")

// window gives the first sequence of a window that ends with to and has about as many
// events on the subjects as are wanted, or more.
func (p *pager[T]) window(ctx context.Context, to uint64, want int) (uint64, error) {
	wanted := uint64(want)
	if len(p.subjects) == 0 {
		return p.back(to, wanted), nil
	}
	after := uint64(0)
	if to < p.newest {
		n, err := p.ahead(ctx, to+1)
		if err != nil {
			return 0, err
		}
		after = n
	}
	all, err := p.ahead(ctx, p.first)
	if err != nil {
		return 0, err
	}
	all -= min(all, after)
	if all <= 2*wanted {
		return p.first, nil
	}
	for width := 2 * wanted * max(1, (to-p.first+1)/all); ; width *= 4 {
		from := p.back(to, width)
		if from == p.first {
			return from, nil
		}
		n, err := p.ahead(ctx, from)
		if err != nil {
			return 0, err
		}
		if n >= after+wanted {
			return from, nil
		}
	}
}

// back gives the sequence from which on a window is so wide.
func (p *pager[T]) back(to, width uint64) uint64 {
	if width > to-p.first {
		return p.first
	}
	return to - width + 1
}

// ahead is how many events there are on the subjects from a sequence on.
func (p *pager[T]) ahead(ctx context.Context, from uint64) (events uint64, err error) {
	for _, subject := range p.subjects {
		_, n, err := reader.Ahead(ctx, p.js, subject, from)
		if err != nil {
			return 0, err
		}
		events += n
	}
	return events, nil
}
