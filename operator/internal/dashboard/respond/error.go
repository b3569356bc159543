package respond

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/signin"
	"fleet.nationtech.io/operator/internal/eventsapi"
	"fleet.nationtech.io/projections/asof"
)

// Error is an error with the code of its answer, as a sentence for the person who asked.
type Error struct {
	Code int
	Text string
}

// Error implements error.
func (e Error) Error() string { return e.Text }

// Errorf makes an Error. Unlike fmt.Errorf, it wraps nothing.
func Errorf(code int, format string, args ...any) Error {
	return Error{code, fmt.Sprintf(format, args...)}
}

// BadRequest is the Error of a request that cannot be: the error, as a sentence.
func BadRequest(err error) Error { return Error{http.StatusBadRequest, err.Error() + "."} }

// statusClientGone is what nginx logs where nobody waits for the answer any more.
const statusClientGone = 499

// errorOf says in the words of HTTP why there is no page.
func (a *Responder) errorOf(ctx context.Context, err error) Error {
	var e Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, asof.ErrBeyondEnd), errors.Is(err, asof.ErrBeforeBeginning):
		return Error{http.StatusNotFound, "The event log does not reach that moment: " + err.Error() + "."}
	case errors.Is(err, eventsapi.ErrTooSlow):
		return Error{http.StatusGatewayTimeout, "The search is too wide: " + err.Error() + "."}
	case errors.Is(err, asof.ErrNoMoment):
		return Error{http.StatusBadRequest, err.Error()}
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return brokenOff(ctx)
	case errors.Is(err, moments.ErrUnfolded):
		return Error{http.StatusServiceUnavailable, "The event log could not be folded up to there in time. The work goes on for a minute at most: ask again for the same event or time."}
	case errors.Is(err, context.DeadlineExceeded):
		return Error{http.StatusServiceUnavailable, "This took too long. Ask again."}
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return Error{http.StatusServiceUnavailable, "There is no event log yet."}
	case errors.Is(err, logstream.ErrRestoring):
		return Error{http.StatusServiceUnavailable, "The event log is being restored."}
	case errors.Is(err, ErrUnwritten):
		a.logger.Error("cannot write a page of the dashboard", "error", err)
		return Error{http.StatusInternalServerError, "The page could not be written. The operator's own log says why."}
	}
	a.logger.Warn("cannot make a page of the dashboard", "error", err)
	return Error{http.StatusServiceUnavailable, "The event log cannot be read now: " + err.Error()}
}

// brokenOff says why a request ended before its answer was made. Who ends it for another reason than
// that its client went away gives a cause.
func brokenOff(ctx context.Context) Error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, person.ErrEnded):
		return Error{http.StatusServiceUnavailable, "Your connection to NATS ended while this was made. Ask again."}
	case !errors.Is(cause, context.Canceled):
		return Error{http.StatusServiceUnavailable, "This was not made: " + cause.Error() + ". Ask again."}
	}
	return Error{statusClientGone, "The client went away."}
}

// Error answers with an error, in the form of what was asked for, and gives the code. An error
// that no request is to blame for is logged.
func (a *Responder) Error(w http.ResponseWriter, r *http.Request, err error) int {
	e := a.errorOf(r.Context(), err)
	if e.Code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	w.Header().Del("ETag")
	if wantsJSON(r) {
		_, _ = JSON(w, e.Code, map[string]string{"error": e.Text}) // a map of texts is always written
		return e.Code
	}
	title := http.StatusText(e.Code)
	if title == "" {
		title = "No answer"
	}
	a.failed(w, r, title, page.Failed{Code: e.Code, Text: e.Text, Links: append(aside(r, e.Code), page.Link{Text: "The fleet now", Address: "/"})})
	return e.Code
}

// aside is where a person can look for what a page of one thing does not have.
func aside(r *http.Request, code int) []page.Link {
	device, namespace, name := r.PathValue("device"), r.PathValue("namespace"), r.PathValue("name")
	var list page.Link
	q := url.Values{}
	switch {
	case code != http.StatusNotFound || device == "" && name == "":
		return nil
	case device != "":
		list = page.Link{Text: "The devices", Address: "/devices"}
		q.Set("device", device)
	default:
		list = page.Link{Text: "The Deployments", Address: "/deployments"}
		q.Set("namespace", namespace)
		q.Set("deployment", name)
	}
	return []page.Link{{Text: "What the log has of it", Address: "/events?" + q.Encode()}, list}
}

// Notice writes a notice of the sign-in, in the form of what was asked for.
func (a *Responder) Notice(w http.ResponseWriter, r *http.Request, n signin.Notice) {
	if wantsJSON(r) {
		a.Error(w, r, Error{n.Code, n.Text})
		return
	}
	m := page.Failed{Code: n.Code, Text: n.Text}
	for _, l := range n.Links {
		m.Links = append(m.Links, page.Link{Text: l.Text, Address: l.Address})
	}
	a.failed(w, r, n.Title, m)
}

func wantsJSON(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }

func (a *Responder) failed(w http.ResponseWriter, r *http.Request, title string, m page.Failed) {
	a.Page(w, r, m.Code, page.Page{Name: page.Failure, Title: title, Path: "/", Model: m})
}

// NotFound answers where there is no page for a request. takes are the methods for which there is one.
func (a *Responder) NotFound(w http.ResponseWriter, r *http.Request, takes ...string) {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if len(takes) == 0 && !reads { // nothing is done by another method anywhere else
		takes = []string{http.MethodGet, http.MethodHead}
	}
	if len(takes) == 0 {
		a.Error(w, r, Error{http.StatusNotFound, "There is no such page."})
		return
	}
	w.Header().Set("Allow", strings.Join(takes, ", "))
	text := "This page only shows: ask with GET."
	switch {
	case takes[0] != http.MethodGet:
		text = "This shows nothing: ask with " + takes[0] + "."
	case slices.Contains(takes, http.MethodPost):
		text = "Ask with GET for the form, and send that with POST."
	}
	a.Error(w, r, Error{http.StatusMethodNotAllowed, text})
}
