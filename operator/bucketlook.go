package operator

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/projections/buckets"
)

// bucketLook is what the looks at a bucket found.
type bucketLook struct {
	created time.Time
	last    uint64                  // its newest message
	whole   uint64                  // sequence of the source up to which it lacks nothing
	suspect *jetstream.RawStreamMsg // what it lacks first
	since   time.Time               // when it was first seen to lack something
}

// look is told what the server says of the bucket, and where its source ends. It says
// whether the bucket is to be asked what it lacks: one that moves is not, nor one
// whose source has nothing new.
func (l *bucketLook) look(is buckets.Service, source func() (uint64, error)) (ask bool, err error) {
	if !is.Created.Equal(l.created) || is.Last != l.last {
		whole := l.whole
		if !is.Created.Equal(l.created) {
			whole = 0
		}
		*l = bucketLook{created: is.Created, last: is.Last, whole: whole}
		return false, nil
	}
	end, err := source()
	return err == nil && (end > l.whole || l.suspect != nil), err
}

// lacks is told what the bucket lacks first; nil where it has all up to the end.
func (l *bucketLook) lacks(m *jetstream.RawStreamMsg, end uint64, now time.Time) {
	switch {
	case m == nil:
		l.suspect, l.whole = nil, end
	case l.suspect == nil:
		l.suspect, l.since = m, now
	default:
		l.suspect = m
	}
}
