package audit

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
)

// recordGrants records the grants that wait. One that fails waits on.
func (r *Recorder) recordGrants(ctx context.Context) {
	for {
		g, was, ok := r.nextGrant()
		if !ok {
			return
		}
		g.Auth.Reason = reasonFirst
		if was.grant != "" {
			g.Auth.Reason = reasonChanged
		}
		sequence, err := r.append(ctx, g.Subject, eventlog.AuthGranted, g.Auth, r.grantID(g, was))
		if err != nil {
			r.options.Metrics.appended("failed")
			r.options.Logger.Warn("a login could not be recorded; it is recorded at the next login", "subject", g.Subject, "error", err)
			return
		}
		r.options.Metrics.appended("granted")
		r.mu.Lock()
		r.known[g.Subject] = recorded{g.Auth.Grant, sequence}
		r.mu.Unlock()
	}
}

// nextGrant takes the oldest grant that the log does not have.
func (r *Recorder) nextGrant() (Grant, recorded, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 {
		subject := r.order[0]
		r.order = r.order[1:]
		g := r.pending[subject]
		delete(r.pending, subject)
		if was := r.known[subject]; was.grant != g.Auth.Grant {
			return g, was, true
		}
	}
	return Grant{}, recorded{}, false
}

// grantID is the same for two replicas that record one change, so that the log
// takes one. It has the form of a ULID, and without the secret nobody can burn it
// beforehand.
func (r *Recorder) grantID(g Grant, was recorded) string {
	h := hmac.New(sha256.New, r.options.Secret)
	for _, part := range []string{g.Subject, was.grant, fmt.Sprint(was.sequence), g.Auth.Grant} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return ulid.ULID(h.Sum(nil)[:16]).String()
}

// recordUrgent records the first denials of identities that are established.
func (r *Recorder) recordUrgent(ctx context.Context) {
	r.mu.Lock()
	keys := r.urgent
	r.urgent = nil
	var all []denial
	for _, k := range keys {
		if d := r.denials[k]; d != nil && d.count > 0 {
			all = append(all, *d)
			d.count = 0 // what follows is recorded with the minute
		}
	}
	r.mu.Unlock()
	r.recordDenials(ctx, all)
}

// flush records what was counted within the minute. Who was refused in it is no
// news in the next one, so that it costs one event a minute and no more.
func (r *Recorder) flush(ctx context.Context) {
	r.mu.Lock()
	keys := slices.SortedFunc(maps.Keys(r.denials), func(a, b denialKey) int {
		return cmp.Or(strings.Compare(a.subject, b.subject), strings.Compare(string(a.reason), string(b.reason)))
	})
	var all []denial
	for _, k := range keys {
		d := r.denials[k]
		if d.count == 0 {
			delete(r.denials, k)
			continue
		}
		all = append(all, *d)
		d.count = 0
	}
	r.urgent = nil
	r.mu.Unlock()
	r.recordDenials(ctx, all)
}

func (r *Recorder) recordDenials(ctx context.Context, all []denial) {
	for _, d := range all {
		if ctx.Err() != nil { // not sent: the last flush records it
			r.putBack(d)
			continue
		}
		a := d.Auth
		a.Reason, a.Message, a.Count = string(d.Reason), d.Message, d.count
		if _, err := r.append(ctx, d.Subject, eventlog.AuthDenied, a, ulid.Make().String()); err != nil {
			r.options.Metrics.appended("failed")
			r.putBack(d)
			if ctx.Err() == nil {
				r.options.Logger.Warn("refused logins could not be recorded; they are counted on", "subject", d.Subject, "reason", d.Reason, "count", d.count, "error", err)
			}
			continue
		}
		r.options.Metrics.appended("denied")
	}
}

// putBack counts denials that could not be recorded with those of the next minute.
func (r *Recorder) putBack(d denial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := denialKey{d.Subject, d.Reason}
	if c := r.denials[key]; c != nil {
		c.count += d.count
		return
	}
	r.denials[key] = &d
}

// append is not cut short when the recorder ends: an event whose answer did not come
// would be recorded twice.
func (r *Recorder) append(ctx context.Context, subject string, t eventlog.Type, a eventlog.Auth, id string) (uint64, error) {
	d, err := eventlog.NewDraft(eventlog.AuthSubject(subject), t, r.options.Now(), a)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	ack, err := r.options.JetStream.PublishMsg(ctx, d.Message(source, id))
	if err != nil {
		return 0, err
	}
	if ack.Duplicate && ack.Sequence == 0 {
		return 0, errors.New("the log takes the event for a duplicate of one that it does not name")
	}
	return ack.Sequence, nil
}
