package eventsapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

const (
	maxStreams = 256                    // at a time
	gather     = 500 * time.Millisecond // for which events are gathered, so that many are one write
	keepAlive  = 15 * time.Second       // without an event, after which a stream says that it lives
	again      = 2 * time.Second        // after which a client whose stream ended should come back
)

// streamType is the form of an answer that goes on: server-sent events.
const streamType = "text/event-stream"

// lastEventID is where a client that comes back says what it has seen.
const lastEventID = "Last-Event-ID"

// Fold is what streams wait for: the operator's own fold of the log.
type Fold interface {
	// Await returns once the fold has caught up with the log, with a channel that closes when
	// that fold no longer holds; or with the context's error.
	Await(ctx context.Context) (lost <-chan struct{}, err error)
	Sequence() uint64 // of the last event folded
	// WaitFor returns once the fold has passed a sequence, or with the context's error.
	WaitFor(ctx context.Context, sequence uint64) error
}

// streams says whether a client asks for an answer that goes on: it names that form, with a weight
// that is not zero (RFC 9110, section 12.5.1).
func streams(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		form, parameters, err := mime.ParseMediaType(part)
		if err != nil || form != streamType {
			continue
		}
		weight, err := strconv.ParseFloat(cmp.Or(parameters["q"], "1"), 64)
		return err == nil && weight > 0
	}
	return false
}

// stream sends events as they come, until the client leaves or the log is another one.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) int {
	f, err := h.follow(r)
	if err == nil && r.Method != http.MethodHead { // which asks how an answer would begin, and follows nothing
		select {
		case h.streams <- struct{}{}:
			defer func() { <-h.streams }()
		default:
			err = failure{http.StatusServiceUnavailable, fmt.Sprintf("%d clients follow the event log already; ask again", maxStreams)}
		}
	}
	if err != nil {
		revalidated(w)
		var refused failure
		if !errors.As(err, &refused) {
			refused = failure{http.StatusInternalServerError, err.Error()}
		}
		return refuse(w, refused)
	}
	w.Header().Set("Content-Type", streamType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not gather
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return http.StatusOK
	}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	s := sender{h: h, w: w, control: http.NewResponseController(w), following: f}
	if err := s.run(ctx); err != nil && ctx.Err() == nil {
		h.logger.Debug("a stream of events ended", "error", err)
	}
	return http.StatusOK
}

// following is what a client follows.
type following struct {
	q        query
	subjects []string // none: all
	after    uint64   // what the client has seen
	fromNow  bool     // it did not say
}

// follow reads what a client wants to follow. Its errors are failures.
func (h *Handler) follow(r *http.Request) (f following, err error) {
	if h.fold == nil {
		return f, failure{http.StatusNotAcceptable, "events cannot be followed here: ask for application/json"}
	}
	bad := func(err error) (following, error) { return f, failure{http.StatusBadRequest, err.Error()} }
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad(fmt.Errorf("the query cannot be read: %w", err))
	}
	for _, name := range []string{"before", "until", "since", "order", "limit", "data"} {
		if values.Get(name) != "" {
			return bad(fmt.Errorf("%s: who follows the log gets each event as it comes, without its payload: leave it out", name))
		}
	}
	after := values.Get("after")
	if seen := r.Header.Get(lastEventID); seen != "" {
		after = seen
	}
	values.Del("after")
	if f.q, err = parse(values); err != nil {
		return bad(err)
	}
	if f.subjects, err = f.q.subjects(); err != nil {
		return bad(err)
	}
	if f.fromNow = after == ""; !f.fromNow {
		if f.after, err = cursor([]string{after}); err != nil {
			return bad(fmt.Errorf("after: %w", err))
		}
	}
	return f, nil
}

// wants says whether an event is among those that are followed.
func (f *following) wants(e *eventlog.Event) bool {
	if !f.q.matches(e) {
		return false
	}
	for _, s := range f.subjects {
		if eventlog.Covers(s, e.Subject) {
			return true
		}
	}
	return len(f.subjects) == 0
}

// sender sends what one client follows.
type sender struct {
	following
	h       *Handler
	w       http.ResponseWriter
	control *http.ResponseController
	body    bytes.Buffer // to be sent
	told    uint64       // the sequence that the client was told last
}

func (s *sender) run(ctx context.Context) error {
	fmt.Fprintf(&s.body, "retry: %d\n\n", again.Milliseconds())
	if err := s.flush(); err != nil { // so that the client knows that it is served
		return err
	}
	lost, err := s.h.fold.Await(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // it ends with the stream
		select {
		case <-lost:
			stop()
		case <-ctx.Done():
		}
	}()
	if err := s.begin(ctx); err != nil {
		return err
	}
	for {
		if err := s.wait(ctx); err != nil {
			return err
		}
		if err := s.next(ctx, lost); err != nil {
			return err
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// begin finds where the stream begins. The client may come from a replica that has folded more.
func (s *sender) begin(ctx context.Context) error {
	at := s.h.fold.Sequence()
	if !s.fromNow && s.after > at {
		log, err := logstream.Inspect(ctx, s.h.js)
		if err != nil {
			return err
		}
		s.fromNow = s.after > log.Last // the log that it saw is not there any more
	}
	if s.fromNow {
		s.after = at
	}
	s.told = s.after
	return nil
}

// wait returns once the log has more, and what comes with it is gathered; now and then it
// tells the client that the stream lives.
func (s *sender) wait(ctx context.Context) error {
	for {
		soon, stop := context.WithTimeout(ctx, keepAlive)
		err := s.h.fold.WaitFor(soon, s.after+1)
		stop()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.body.WriteString(":\n\n")
		if err := s.flush(); err != nil {
			return err
		}
	}
	t := time.NewTimer(gather)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next adds what came since the client was told last.
func (s *sender) next(ctx context.Context, lost <-chan struct{}) error {
	through := s.h.fold.Sequence()
	items, kept, err := s.h.recent.since(ctx, lost, s.after, through)
	if err != nil {
		return err
	}
	if !kept {
		return s.catchUp(ctx)
	}
	for i := range items {
		if s.wants(&items[i].event) {
			s.add(items[i].event.Sequence, items[i].row)
		}
	}
	s.after = through
	if s.told+recentEvents/2 < through { // so that a client which comes back is not far behind
		fmt.Fprintf(&s.body, "id: %d\n\n", through)
		s.told = through
	}
	return nil
}

// catchUp adds a page of what is not kept any more.
func (s *sender) catchUp(ctx context.Context) error {
	release, err := s.h.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	q := s.q
	q.from, q.ascending, q.limit = s.after+1, true, MaxLimit
	where, err := locate(ctx, s.h.js, &q)
	if err != nil {
		return err
	}
	p, err := readPage(ctx, s.h.js, where, &q, q.row)
	if err != nil {
		return err
	}
	for i := range p.Rows {
		row, err := encode(&p.Rows[i])
		if err != nil {
			return err
		}
		s.add(p.Rows[i].Sequence, row)
	}
	if s.after = p.Next; p.Next == 0 {
		s.after = max(p.Last, where.log.Last)
	}
	return nil
}

// add adds one event.
func (s *sender) add(sequence uint64, row []byte) {
	s.body.WriteString("id: ")
	s.body.WriteString(strconv.FormatUint(sequence, 10))
	s.body.WriteString("\ndata: ")
	s.body.Write(row) // JSON has no line break
	s.body.WriteString("\n\n")
	s.told = sequence
	s.h.metrics.events.Inc()
}

// flush sends what was added.
func (s *sender) flush() error {
	if s.body.Len() == 0 {
		return nil
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write(s.body.Bytes()); err != nil {
		return err
	}
	s.body.Reset()
	return s.control.Flush()
}
