package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go/jetstream"
)

// lookoutEvery is how often a follower to whom nothing comes asks the stream's leader
// whether there is more.
const lookoutEvery = 10 * time.Second

// lookoutTimeout is how long a look may take for each subject: what the feed has waits
// meanwhile.
const lookoutTimeout = time.Second

// lookout is what a follower's looks at the leader found.
type lookout struct {
	next   time.Time // of the next look
	missed uint64    // the sequence that the leader had at the last look and that had not come; 0: none
}

// lookOut fails with errMissed where a message that the stream's leader had at the look
// before has still not come: the feed's server gives signs of life and no messages, as it
// is behind, cannot read its copy, or the consumer was paused by hand. Another feed may
// be given by another server. A leader that does not answer proves nothing.
func (r *reader) lookOut(ctx context.Context, l *lookout) error {
	if time.Now().Before(l.next) || r.sequence == 0 && !r.o.Since.IsZero() { // what came before that moment is not missed
		return nil
	}
	l.next = time.Now().Add(lookoutEvery)
	subjects := r.o.Subjects
	if len(subjects) == 0 {
		subjects = []string{eventlog.LogSubjects}
	}
	before := l.missed
	l.missed = 0
	for _, subject := range subjects {
		m, err := r.leaderHas(ctx, subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return nil //nolint:nilerr // the feed goes on
		case m.Sequence <= before:
			return fmt.Errorf("stream %s: %w: sequence %d", eventlog.LogStream, errMissed, m.Sequence)
		case l.missed == 0 || m.Sequence < l.missed:
			l.missed = m.Sequence
		}
	}
	return nil
}

// leaderHas gives the first message that the stream's leader has on a subject after what
// was read.
func (r *reader) leaderHas(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, lookoutTimeout)
	defer cancel()
	return NextMessage(ctx, r.js, eventlog.LogStream, subject, max(r.sequence+1, r.o.From))
}
