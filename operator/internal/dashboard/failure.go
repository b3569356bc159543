package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/projections/asof"
)

// failure is an error with the code of its answer, as a sentence for the person who asked.
type failure struct {
	code int
	text string
}

// Error implements error.
func (f failure) Error() string { return f.text }

// statusClientGone is what nginx logs where nobody waits for the answer any more.
const statusClientGone = 499

// failed says in the words of HTTP why there is no page.
func (d *Dashboard) failed(err error) failure {
	var f failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, asof.ErrBeyondEnd), errors.Is(err, asof.ErrBeforeBeginning):
		return failure{http.StatusNotFound, "The event log does not reach that moment: " + err.Error() + "."}
	case errors.Is(err, asof.ErrNoMoment):
		return failure{http.StatusBadRequest, err.Error()}
	case errors.Is(err, context.Canceled):
		return failure{statusClientGone, "The client went away."}
	case errors.Is(err, context.DeadlineExceeded):
		return failure{http.StatusServiceUnavailable, "The event log could not be folded up to there in time. The work goes on for a minute: ask again for the same event or time."}
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return failure{http.StatusServiceUnavailable, "There is no event log yet."}
	case errors.Is(err, logstream.ErrRestoring):
		return failure{http.StatusServiceUnavailable, "The event log is being restored."}
	case errors.Is(err, errUnwritten):
		d.o.Logger.Error("cannot write a page of the dashboard", "error", err)
		return failure{http.StatusInternalServerError, "The page could not be written. The operator's own log says why."}
	}
	d.o.Logger.Warn("cannot make a page of the dashboard", "error", err)
	return failure{http.StatusServiceUnavailable, "The event log cannot be read now: " + err.Error()}
}

// fail answers with an error, in the form of what was asked for.
func (d *Dashboard) fail(w http.ResponseWriter, r *http.Request, f failure) int {
	if f.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	w.Header().Del("ETag")
	if strings.HasPrefix(r.URL.Path, "/api/") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(f.code)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": f.text}) // who asked has gone away: nobody to tell
		return f.code
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(f.code)
	title := http.StatusText(f.code)
	if title == "" {
		title = "No answer"
	}
	err := d.pages.Write(w, page.Page{Name: page.Failure, Title: title, Path: "/", Asset: d.asset, Model: page.Failed{Code: f.code, Text: f.text}})
	if err != nil {
		d.o.Logger.Debug("a page of an error was not written", "error", err)
	}
	return f.code
}

// nothing answers where there is no page.
func (d *Dashboard) nothing(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		d.fail(w, r, failure{http.StatusMethodNotAllowed, "The dashboard only shows: ask with GET."})
		return
	}
	d.fail(w, r, failure{http.StatusNotFound, "There is no such page."})
}
