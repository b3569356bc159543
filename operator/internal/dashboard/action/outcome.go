package action

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard/endpoint"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
)

const (
	pageWait = 8 * time.Second  // from a request on, in which its page waits for the answer
	maxWait  = 20 * time.Second // that a program may wait for it
	waiters  = 64               // that wait for answers at a time; more look, and do not wait
)

// requestPage answers with what became of a request.
func (h *Handlers) requestPage(w http.ResponseWriter, r *http.Request) (int, error) {
	if r.URL.RawQuery != "" {
		return 0, respond.Error{Code: http.StatusBadRequest, Text: "The page of a request has no parameters."}
	}
	sequence, err := endpoint.PathSequence(r)
	if err != nil {
		return 0, err
	}
	q, err := h.outcome(r.Context(), sequence, func(q *model.Request) time.Duration { return pageWait - h.o.Now().Sub(q.Time) })
	if err != nil {
		return 0, err
	}
	return h.page(w, r, http.StatusOK, page.Page{Name: page.Request, Title: fmt.Sprintf("Request %d: %s %s", q.Sequence, q.Verb, q.About()), Model: q})
}

// requestJSON answers with what became of a request, as JSON.
func (h *Handlers) requestJSON(w http.ResponseWriter, r *http.Request) (int, error) {
	wait, err := waitOf(r.URL.Query())
	if err != nil {
		return 0, err
	}
	sequence, err := endpoint.PathSequence(r)
	if err != nil {
		return 0, err
	}
	q, err := h.outcome(r.Context(), sequence, func(*model.Request) time.Duration { return wait })
	if err != nil {
		return 0, err
	}
	return respond.JSON(w, http.StatusOK, q)
}

// waitOf reads how long a program waits for the operator's answer.
func waitOf(values url.Values) (time.Duration, error) {
	for name, v := range values {
		if name != "wait" || len(v) > 1 {
			return 0, respond.Errorf(http.StatusBadRequest, "There is no parameter %q here, or it is there twice; there is wait.", name)
		}
	}
	text := values.Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, respond.Errorf(http.StatusBadRequest, "wait: %q is no time up to %v, such as 10s.", text, maxWait)
	}
	return wait, nil
}

// outcome reads a request and what became of it, and waits for the answer for a while.
func (h *Handlers) outcome(ctx context.Context, sequence uint64, wait func(*model.Request) time.Duration) (q model.Request, err error) {
	bounded, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	e, err := endpoint.ReadEvent(bounded, h.o.JS, sequence)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return q, respond.Errorf(http.StatusNotFound, "The log has no event %d.", sequence)
	case err != nil && !errors.Is(err, eventlog.ErrForeign):
		return q, err
	}
	ok := err == nil
	if ok {
		q, ok = model.RequestOf(e)
	}
	if !ok {
		return q, respond.Errorf(http.StatusNotFound, "Event %d is no request of a person.", sequence)
	}
	return q, h.settle(ctx, &q, wait(&q))
}

// settle waits until a request is settled, but no longer than that, and takes over what the log
// says of it by then.
func (h *Handlers) settle(ctx context.Context, q *model.Request, wait time.Duration) error {
	if wait > 0 {
		if release, ok := h.waiters.TryTake(); ok { // else too many wait already
			h.follow(ctx, q, wait)
			release()
		}
	}
	if q.State != model.RequestOpen || ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	closed := false
	if err := h.o.Moments.At(ctx, moments.Moment{}, func(f moments.Fleet) { closed = q.Closed(f.Catalog.View) }); err != nil {
		return err
	}
	release, err := h.o.Readers.Take(ctx)
	if err != nil {
		return err
	}
	defer release()
	count := 0
	for e, err := range reader.Read(ctx, h.o.JS, reader.Options{From: q.Sequence + 1, Subjects: q.Subjects()}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		if count++; count > h.o.MaxEvents {
			break
		}
		if err == nil && q.Take(e) {
			return nil
		}
	}
	if closed {
		q.Overtake()
	}
	return nil
}

// follow follows the log until a request is settled, but no longer than that.
func (h *Handlers) follow(ctx context.Context, q *model.Request, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, min(wait, maxWait))
	defer cancel()
	for e, err := range reader.Follow(ctx, h.o.JS, reader.Options{From: q.Sequence, Subjects: q.Subjects()}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return // there was no answer in time, or the next read of the log fails with what is wrong
		}
		if err == nil && e.Sequence > q.Sequence && q.Take(e) {
			return
		}
	}
}
