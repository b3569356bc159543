// Package eventsapi gives events of the log over HTTP as JSON, by Deployment, device, type
// and time: for dashboards and scripts, which may read and nothing else.
package eventsapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/version"
)

// Path is where the API is.
const Path = "/api/v1/events"

const (
	atOnce      = 4                // requests that read the log at a time
	patience    = 2 * time.Second  // for which another one waits
	requestTime = 30 * time.Second // that one may take to read; above firstTime
	writeTime   = 30 * time.Second // that a client may take to read the answer
)

// Options wire a Handler.
type Options struct {
	JS jetstream.JetStream
	// Fold tells those who follow the log that there is more; nil: nobody can.
	Fold Fold
	// Build tells this program's answers from another's; empty: what the running binary says of
	// itself.
	Build    string
	Registry prometheus.Registerer
	Logger   *slog.Logger
}

// Handler answers requests. It reads the log itself, by direct gets, and so needs no
// leader among the replicas. Between two requests it keeps the last events for those who
// follow the log, and nothing else.
type Handler struct {
	js      jetstream.JetStream
	build   string
	logger  *slog.Logger
	metrics *metrics
	slots   chan struct{}

	fold    Fold
	streams chan struct{} // one for each client that follows
	recent  recent
}

var _ http.Handler = (*Handler)(nil)

// New wires a handler and registers its metrics.
func New(o Options) *Handler {
	return &Handler{
		js: o.JS, build: cmp.Or(o.Build, version.Read().Text()), logger: o.Logger, metrics: newMetrics(o.Registry), slots: make(chan struct{}, atOnce),
		fold: o.Fold, streams: make(chan struct{}, maxStreams), recent: recent{js: o.JS, reading: make(chan struct{}, 1)},
	}
}

// Answer is the body of an answer with events.
type Answer struct {
	Events []Row `json:"events"`
	// Next is the cursor of the next page, for before, or with order=asc for after; empty
	// where there is none.
	Next string `json:"next"`
	// Last is the sequence up to which the log was looked at: who asks again and again for
	// what is new gives it as after.
	Last uint64 `json:"last"`
	// Partial says that the page ended early, for the search took long or the data is
	// much: go on with Next.
	Partial bool `json:"partial"`
}

// failure is an error with the code of its answer.
type failure struct {
	code int
	text string
}

// Error implements error.
func (f failure) Error() string { return f.text }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	w.Header().Add("Vary", "Accept")
	if streams(r) {
		h.metrics.requests.WithLabelValues(strconv.Itoa(h.stream(w, r))).Inc()
		return
	}
	code, events := h.serve(w, r)
	h.metrics.answered(code, events, time.Since(began))
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (code, events int) {
	a, tag, err := h.answer(r.Context(), r.URL.RawQuery, r.Header.Get("If-None-Match"))
	if deadline := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)); deadline != nil && !errors.Is(deadline, http.ErrNotSupported) {
		h.logger.Debug("an answer has no deadline", "error", deadline)
	}
	revalidated(w)
	if tag != "" {
		w.Header().Set("ETag", tag)
	}
	var f failure
	switch {
	case errors.As(err, &f):
		return refuse(w, f), 0
	case a == nil:
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified, 0
	}
	return write(w, http.StatusOK, a), len(a.Events)
}

// revalidated has a cache ask each time, where who serves the API has not said more than that: the
// dashboard's answers are private.
func revalidated(w http.ResponseWriter) {
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "no-cache")
	}
}

func write(w http.ResponseWriter, code int, body any) int {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // who asked has gone away: nobody to tell
	return code
}

// refuse answers with a failure.
func refuse(w http.ResponseWriter, f failure) int {
	if f.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	return write(w, f.code, map[string]string{"error": f.text})
}

// answer reads the log. It gives nothing where the client has the answer by its tag
// already. Its errors are failures.
func (h *Handler) answer(ctx context.Context, rawQuery, has string) (a *Answer, tag string, err error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, "", failure{http.StatusBadRequest, "the query cannot be read: " + err.Error()}
	}
	q, err := parse(values)
	if err != nil {
		return nil, "", failure{http.StatusBadRequest, err.Error()}
	}
	if !h.js.Conn().IsConnected() {
		return nil, "", failure{http.StatusServiceUnavailable, "the operator is not connected to NATS"}
	}
	release, err := h.slot(ctx)
	if err != nil {
		return nil, "", err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	where, err := locate(ctx, h.js, &q)
	if err != nil {
		return nil, "", h.failed(ctx, err)
	}
	tag = tagOf(h.build, where, q.asked)
	if strings.Contains(has, tag) {
		return nil, tag, nil
	}
	p, err := readPage(ctx, h.js, where, &q, q.row)
	if err != nil {
		return nil, "", h.failed(ctx, err)
	}
	a = &Answer{Events: p.Rows, Last: p.Last, Partial: p.Early}
	if a.Events == nil {
		a.Events = []Row{}
	}
	if p.Next > 0 {
		a.Next = strconv.FormatUint(p.Next, 10)
	}
	if p.Early {
		tag = "" // another time it may read further
	}
	return a, tag, nil
}

// slot waits until one may read.
func (h *Handler) slot(ctx context.Context) (release func(), err error) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-t.C:
		return nil, failure{http.StatusServiceUnavailable, fmt.Sprintf("%d requests read the event log already; ask again", atOnce)}
	case <-ctx.Done():
		return nil, brokenOff(ctx)
	}
}

// statusClientGone is what nginx logs where nobody waits for the answer any more.
const statusClientGone = 499

// brokenOff says why a request ended before its answer was made. Who ends it for another reason than
// that its client went away gives a cause.
func brokenOff(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return failure{http.StatusServiceUnavailable, cause.Error() + "; ask again"}
	}
	return failure{statusClientGone, "the client went away"}
}

// failed says in the words of HTTP why the log could not be read.
func (h *Handler) failed(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrNothing):
		return failure{http.StatusBadRequest, err.Error()}
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return brokenOff(ctx)
	case errors.Is(err, ErrTooSlow):
		return failure{http.StatusGatewayTimeout, err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return failure{http.StatusGatewayTimeout, fmt.Sprintf("the event log gave no answer within %s: ask again, or about less time", requestTime)}
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return failure{http.StatusServiceUnavailable, "there is no event log yet"}
	case errors.Is(err, logstream.ErrRestoring):
		return failure{http.StatusServiceUnavailable, "the event log is being restored"}
	}
	h.logger.Warn("cannot read the event log for a request", "error", err)
	return failure{http.StatusServiceUnavailable, "the event log cannot be read now: " + err.Error()}
}

// tagOf is the entity tag of an answer. The log is only appended to, so an answer stays
// the same until another event comes on the same subjects, as long as the same program answers.
func tagOf(build string, s span, query string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(build + " " + query))
	return fmt.Sprintf(`W/"%s-%d-%x"`, s.log.ID, s.newest, h.Sum64())
}
