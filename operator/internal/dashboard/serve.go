package dashboard

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"time"

	"fleet.nationtech.io/operator/internal/dashboard/action"
	"fleet.nationtech.io/operator/internal/dashboard/endpoint"
	"fleet.nationtech.io/operator/internal/dashboard/limit"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
)

// fresh is how old an answer may be that another request for the same is given: of a log that
// grows all the time, a page is made once in that time.
const fresh = time.Second

// serve answers with a page, or with its JSON.
func (d *Dashboard) serve(e endpoint.Endpoint, asJSON bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		a, code, err := d.answer(ctx, e, r, asJSON)
		if deadline := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)); deadline != nil && !errors.Is(deadline, http.ErrNotSupported) {
			d.o.Logger.Debug("an answer has no deadline", "error", deadline)
		}
		switch {
		case err != nil:
			code = d.respond.Error(w, r, err)
		case code == http.StatusNotModified:
			w.Header().Set("ETag", respond.PersonalTag(r, a.tag))
			w.WriteHeader(code)
		default:
			var end []byte // of a page alone
			if !asJSON {
				end = respond.End(r)
			}
			if err := a.write(w, r, respond.PersonalTag(r, a.tag), end); err != nil {
				d.o.Logger.Debug("a page was not read to its end", "error", err)
			}
		}
		d.metrics.answered(e.Page, code, time.Since(began))
	})
}

// answer gives what is kept, or makes it.
func (d *Dashboard) answer(ctx context.Context, e endpoint.Endpoint, r *http.Request, asJSON bool) (*answer, int, error) {
	q, err := e.Parse(r, action.Acts(e.Page, r), d.o.Now())
	if err != nil {
		return nil, 0, err
	}
	if !d.o.JS.Conn().IsConnected() {
		return nil, 0, respond.Error{Code: http.StatusServiceUnavailable, Text: "The operator is not connected to NATS."}
	}
	sequence, logID, err := d.o.Moments.Sequence(ctx)
	if err != nil {
		return nil, 0, err
	}
	tag, has := d.tag(q, sequence, logID, asJSON), r.Header.Get("If-None-Match")
	if strings.Contains(has, respond.PersonalTag(r, tag)) {
		return &answer{tag: tag}, http.StatusNotModified, nil
	}
	k, err := d.turn(ctx, q.CacheKey(), func(k *kept) bool {
		now := d.o.Now()
		return k.answer == nil || k.tag != tag && (k.logID != logID || now.Sub(k.made) >= fresh || now.Before(k.made))
	})
	if err != nil {
		return nil, 0, err
	}
	defer k.leave()
	if k.anew {
		if err := d.make(ctx, e, q, k, sequence, asJSON); err != nil {
			return nil, 0, err
		}
	}
	if strings.Contains(has, respond.PersonalTag(r, k.tag)) {
		return k.answer, http.StatusNotModified, nil
	}
	return k.answer, http.StatusOK, nil
}

// turn is a request's turn at what is kept for its question.
type turn struct {
	*kept
	leave    func()
	anew     bool          // the answer is to be made
	patience time.Duration // that is left to wait until it may be
}

// turn waits until it is a request's turn, and where the answer is to be made, until one of the
// person's own places for that is free. It does not wait for a place while it has the turn: others
// who ask the same have places of theirs.
func (d *Dashboard) turn(ctx context.Context, key string, old func(*kept) bool) (t turn, err error) {
	k, leave, err := d.answers.enter(ctx, key, d.o.Now())
	if err != nil {
		return turn{}, err
	}
	p := person.Of(ctx)
	if anew := old(k); !anew || p == nil {
		return turn{k, leave, anew, patience}, nil
	}
	places, done := d.own.Of(p.Actor)
	if release, ok := places.TryTake(); ok {
		return turn{k, func() { leave(); release(); done() }, true, patience}, nil
	}
	leave()
	began := time.Now()
	release, err := places.TakeWithin(ctx, patience)
	if errors.Is(err, limit.ErrFull) {
		err = respond.Errorf(http.StatusServiceUnavailable, "%d pages are being made for you already. Ask again.", ownAtOnce)
	}
	if err != nil {
		done()
		return turn{}, err
	}
	left := patience - time.Since(began)
	if k, leave, err = d.answers.enter(ctx, key, d.o.Now()); err != nil {
		release()
		done()
		return turn{}, err
	}
	return turn{k, func() { leave(); release(); done() }, old(k), left}, nil
}

// make makes an answer, and keeps it.
func (d *Dashboard) make(ctx context.Context, e endpoint.Endpoint, q endpoint.Question, k turn, last uint64, asJSON bool) error {
	release, err := d.slots.TakeWithin(ctx, k.patience)
	if errors.Is(err, limit.ErrFull) {
		return respond.Errorf(http.StatusServiceUnavailable, "%d pages are being made already. Ask again.", atOnce)
	}
	if err != nil {
		return err
	}
	defer release()
	v, err := d.loader.Load(ctx, e, q)
	if err != nil {
		return err
	}
	body, kind, err := d.write(ctx, e, q, v, last, asJSON)
	if err != nil {
		return err
	}
	if v.Moment.Now {
		last = v.Moment.Sequence
	}
	tag := d.tag(q, last, v.LogID, asJSON)
	if v.Early {
		tag = fmt.Sprintf(`"%s-early-%x"`, v.LogID, d.o.Now().UnixNano()) // of this answer alone
	}
	a, err := deflate(tag, kind, body)
	if err != nil {
		return err
	}
	d.answers.put(k.kept, a, v.LogID, d.o.Now())
	return nil
}

// tag is the entity tag of an answer. The log is only appended to, so what is true at one of its
// sequences stays true, as long as the same program answers. A page of the past also shows where
// the log ends, and an answer about now, or about a time before now, grows older by itself.
func (d *Dashboard) tag(q endpoint.Question, last uint64, logID string, asJSON bool) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(d.o.Build + " " + d.respond.Asset + " " + q.CacheKey()))
	if asJSON && q.At.Sequence > 0 && !q.At.Happened { // what happened by then may be learned of later
		return fmt.Sprintf(`"%s-%d-%x"`, logID, q.At.Sequence, h.Sum64())
	}
	return fmt.Sprintf(`"%s-%d-%d-%x"`, logID, last, d.o.Now().UnixNano()/int64(endpoint.Steady), h.Sum64())
}

// write writes a model.
func (d *Dashboard) write(ctx context.Context, e endpoint.Endpoint, q endpoint.Question, v endpoint.Shown, last uint64, asJSON bool) (body []byte, contentType string, err error) {
	if asJSON {
		body, err := respond.Encode(v.Model)
		return body, respond.JSONType, err
	}
	p, err := d.loader.Page(ctx, e, q, v, last)
	if err != nil {
		return nil, "", err
	}
	body, err = d.respond.Render(p)
	return body, respond.HTMLType, err
}
