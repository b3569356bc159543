package health

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/projections/buckets"
)

// progress is what the looks at a bucket found.
type progress struct {
	created time.Time
	last    uint64                  // its newest message
	whole   uint64                  // sequence of the source up to which it lacks nothing
	suspect *jetstream.RawStreamMsg // what it lacks first
	since   time.Time               // when it was first seen to lack something
}

// moved says whether the bucket is another one since the look before, or has newer messages.
func (p *progress) moved(is buckets.Service) bool {
	return !is.Created.Equal(p.created) || is.Last != p.last
}

// look takes what the server says of the bucket, and where its source ends. It says
// whether to ask what the bucket lacks, so as to find out whether it stalls: one that moves does not,
// nor one whose source has nothing new.
func (p *progress) look(is buckets.Service, source func() (uint64, error)) (ask bool, err error) {
	if p.moved(is) {
		whole := p.whole
		if !is.Created.Equal(p.created) {
			whole = 0
		}
		*p = progress{created: is.Created, last: is.Last, whole: whole}
		return false, nil
	}
	end, err := source()
	return err == nil && (end > p.whole || p.suspect != nil), err
}

// lacks takes what the bucket lacks first; nil where it has all up to the end.
func (p *progress) lacks(m *jetstream.RawStreamMsg, end uint64, now time.Time) {
	switch {
	case m == nil:
		p.suspect, p.whole = nil, end
	case p.suspect == nil:
		p.suspect, p.since = m, now
	default:
		p.suspect = m
	}
}
