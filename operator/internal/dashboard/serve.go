package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog/spelling"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/projections/asof"
)

// apiPath is where the JSON of the pages is.
const apiPath = "/api/v1/"

// steady is how long a page of now stays as it is, where the log has no news: what it says
// of how long something lasts is as old at most.
const steady = 5 * time.Second

// fresh is how old an answer may be that is given to another who asks the same: of a log that
// grows all the time, a page is made once in that time.
const fresh = time.Second

// question is what a request asks for.
type question struct {
	*http.Request
	values url.Values
	at     asof.Moment
}

// shown is a model, and what it was made of.
type shown struct {
	model    any
	moment   model.Moment
	logID    string
	title    string
	subjects []string // of the events that change what is shown; none: any may
	stream   string   // the query by which the events API tells of them
	read     last     // of subjects that were read to make it
}

// serve answers with a page, or with its JSON.
func (d *Dashboard) serve(s sight, asJSON bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		a, code, err := d.answer(ctx, s, r, asJSON)
		if deadline := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)); deadline != nil && !errors.Is(deadline, http.ErrNotSupported) {
			d.o.Logger.Debug("an answer has no deadline", "error", deadline)
		}
		switch {
		case err != nil:
			code = d.fail(w, r, d.failed(err))
		case code == http.StatusNotModified:
			w.Header().Set("ETag", a.tag)
			w.WriteHeader(code)
		default:
			if err := a.write(w, r); err != nil {
				d.o.Logger.Debug("a page was not read to its end", "error", err)
			}
		}
		d.metrics.answered(s.page, code, time.Since(began))
	})
}

// answer gives what is kept, or makes it.
func (d *Dashboard) answer(ctx context.Context, s sight, r *http.Request, asJSON bool) (*answer, int, error) {
	q, err := d.question(s, r)
	if err != nil {
		return nil, 0, err
	}
	if !d.o.JS.Conn().IsConnected() {
		return nil, 0, failure{http.StatusServiceUnavailable, "The operator is not connected to NATS."}
	}
	sequence, logID, err := d.o.Moments.Sequence(ctx)
	if err != nil {
		return nil, 0, err
	}
	tag, has := d.tag(q, sequence, logID, asJSON), r.Header.Get("If-None-Match")
	if strings.Contains(has, tag) {
		return &answer{tag: tag}, http.StatusNotModified, nil
	}
	k, leave, err := d.made.enter(ctx, q.asked(), d.o.Now())
	if err != nil {
		return nil, 0, err
	}
	defer leave()
	if now := d.o.Now(); k.answer == nil || k.tag != tag && (k.logID != logID || now.Sub(k.made) >= fresh || now.Before(k.made)) {
		if err := d.make(ctx, s, q, k, sequence, asJSON); err != nil {
			return nil, 0, err
		}
	}
	if strings.Contains(has, k.tag) {
		return k.answer, http.StatusNotModified, nil
	}
	return k.answer, http.StatusOK, nil
}

// make makes an answer, and keeps it.
func (d *Dashboard) make(ctx context.Context, s sight, q question, k *kept, last uint64, asJSON bool) error {
	release, err := d.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	v, err := s.load(ctx, d, q)
	if err != nil {
		return err
	}
	body, kind, err := d.write(ctx, s, q, v, last, asJSON)
	if err != nil {
		return err
	}
	if v.moment.Now {
		last = v.moment.Sequence
	}
	a, err := zip(d.tag(q, last, v.logID, asJSON), kind, body)
	if err != nil {
		return err
	}
	d.made.put(k, a, v.logID, d.o.Now())
	return nil
}

// asked is the same for the same question.
func (q question) asked() string { return q.URL.Path + "?" + q.values.Encode() }

// tag is the entity tag of an answer. The log is only appended to, so what is true of one of
// its sequences stays so, as long as this program tells it. A page of the past shows where the log ends beside that, and what
// is true of now, or of a time that is told from now, grows older by itself.
func (d *Dashboard) tag(q question, last uint64, logID string, asJSON bool) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(d.o.Build + " " + d.asset + " " + q.asked()))
	if asJSON && q.at.Sequence > 0 {
		return fmt.Sprintf(`"%s-%d-%x"`, logID, q.at.Sequence, h.Sum64())
	}
	return fmt.Sprintf(`"%s-%d-%d-%x"`, logID, last, d.o.Now().UnixNano()/int64(steady), h.Sum64())
}

// slot waits until one more page may be made.
func (d *Dashboard) slot(ctx context.Context) (release func(), err error) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case d.slots <- struct{}{}:
		return func() { <-d.slots }, nil
	case <-t.C:
		return nil, failure{http.StatusServiceUnavailable, fmt.Sprintf("%d pages are being made already. Ask again.", atOnce)}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// question reads a request. Its errors are failures.
func (d *Dashboard) question(s sight, r *http.Request) (question, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return question{}, failure{http.StatusBadRequest, "The query cannot be read: " + err.Error() + "."}
	}
	q := question{Request: r, values: url.Values{}}
	for name, v := range values {
		if !slices.Contains(s.parameters, name) {
			return q, failure{http.StatusBadRequest, fmt.Sprintf("There is no parameter %q here; %s.", name, meant(name, s.parameters))}
		}
		if len(v) > 1 {
			return q, failure{http.StatusBadRequest, fmt.Sprintf("Give the parameter %s once.", name)}
		}
		if v[0] != "" { // a form sends what is not filled in, too
			q.values.Set(name, v[0])
		}
	}
	q.at, err = d.moment("at", q.values.Get("at"))
	return q, err
}

func meant(name string, all []string) string {
	if near := spelling.Closest(name, all); len(near) > 0 {
		return "did you mean " + near[0]
	}
	return "there are " + strings.Join(all, ", ")
}

// moment reads a moment of the past.
func (d *Dashboard) moment(name, text string) (asof.Moment, error) {
	now := d.o.Now()
	from := now
	if strings.HasPrefix(text, "-") { // so that looks at the same moment, one after the other, are given one view
		from = now.Truncate(steady)
	}
	m, err := asof.ParseMoment(text, from.UTC())
	if err != nil {
		return m, failure{http.StatusBadRequest, fmt.Sprintf("%s: %v.", name, err)}
	}
	if m.Time.After(now) {
		return m, failure{http.StatusNotFound, fmt.Sprintf("%s is %s, which is yet to come. Leave it out for now.", name, m.Time.Format(time.RFC3339))}
	}
	return m, nil
}

// write writes a model.
func (d *Dashboard) write(ctx context.Context, s sight, q question, v shown, last uint64, asJSON bool) (body []byte, contentType string, err error) {
	var b bytes.Buffer
	if asJSON {
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		return flush(&b, "application/json", encoder.Encode(v.model))
	}
	p := page.Page{
		Name: s.page, Title: v.title, Path: q.URL.EscapedPath(), Query: q.values, Asset: d.asset,
		Moment: v.moment, Last: max(last, v.moment.Sequence), Model: v.model,
	}
	if v.moment.Sequence > 0 && s.page != page.Changes {
		n, err := d.neighbours(ctx, v, p.Last)
		if err != nil {
			return nil, "", err
		}
		p.Before, p.Current, p.After = n.Before, n.Current, n.After
		if v.moment.Now {
			p.Stream = streamPath(v.stream, v.moment.Sequence)
		}
	}
	return flush(&b, "text/html; charset=utf-8", d.pages.Write(&b, p))
}

// errUnwritten says that a model could not be written: a fault of this program.
var errUnwritten = errors.New("the page cannot be written")

func flush(b *bytes.Buffer, contentType string, err error) ([]byte, string, error) {
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errUnwritten, err)
	}
	return b.Bytes(), contentType, nil
}
