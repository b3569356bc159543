package endpoint

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/spelling"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
	"fleet.nationtech.io/operator/internal/eventsapi"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
)

// Steady is how long a page of now stays as it is, where the log has no news: what it says
// of how long something lasts is as old at most.
const Steady = 5 * time.Second

const (
	defaultSize = 100 // rows of a part of a list
	maxSize     = 1000
)

// Question is what a request asks for.
type Question struct {
	At moments.Moment

	request *http.Request
	values  url.Values
	acts    page.Acts
}

// Parse reads a request for a page. acts are what the person who asks may do, as far as the page
// depends on it: one page is made for all who may do the same, and of the person it may depend on
// nothing else. It fails with a respond.Error.
func (e Endpoint) Parse(r *http.Request, acts page.Acts, now time.Time) (q Question, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, respond.Errorf(http.StatusBadRequest, "The query cannot be read: %v.", err)
	}
	q = Question{request: r, values: url.Values{}, acts: acts}
	for name, v := range values {
		if !slices.Contains(e.Parameters, name) {
			return q, respond.Errorf(http.StatusBadRequest, "There is no parameter %q here; %s.", name, meant(name, e.Parameters))
		}
		if len(v) > 1 {
			return q, respond.Errorf(http.StatusBadRequest, "Give the parameter %s once.", name)
		}
		if v[0] != "" { // a form sends what is not filled in, too
			q.values.Set(name, eventsapi.WithPlus(v[0]))
		}
	}
	if q.At.Moment, err = moment("at", q.values.Get("at"), now); err != nil {
		return q, err
	}
	return q, q.axis(e)
}

// axis reads on which axis of time the moment is.
func (q *Question) axis(e Endpoint) error {
	if !slices.Contains(e.Parameters, page.Axis) {
		return nil
	}
	axes := []string{page.Known, page.Happened}
	if e.Page == page.Changes {
		axes = append(axes, page.Both)
	}
	is, err := q.oneOf(page.Axis, axes)
	if err != nil {
		return err
	}
	q.At.Happened = is == page.Happened
	if is == page.Known || slices.Contains(e.Parameters, "at") && q.At.IsNow() { // so that one page has one address
		q.values.Del(page.Axis)
	}
	return nil
}

func meant(name string, all []string) string {
	if near := spelling.Closest(name, all); len(near) > 0 {
		return "did you mean " + near[0]
	}
	return "there are " + strings.Join(all, ", ")
}

// moment reads a moment of the past.
func moment(name, text string, now time.Time) (asof.Moment, error) {
	from := now
	if strings.HasPrefix(text, "-") { // so that looks at the same moment, one after the other, are given one view
		from = now.Truncate(Steady)
	}
	m, err := asof.ParseMoment(text, from.UTC())
	if err != nil {
		return m, respond.Errorf(http.StatusBadRequest, "%s: %v.", name, err)
	}
	if m.Time.After(now) {
		return m, respond.Errorf(http.StatusNotFound, "%s is %s, which is yet to come. Leave it out for now.", name, m.Time.Format(time.RFC3339))
	}
	return m, nil
}

// CacheKey is the same for the same question of those who may do the same.
func (q Question) CacheKey() string {
	return q.request.URL.Path + "?" + q.values.Encode() + " " + string(q.acts)
}

// PathKey reads the Deployment that a path names. It fails with a respond.Error.
func PathKey(r *http.Request) (fleet.Key, error) {
	return keyOf(r.PathValue("namespace"), r.PathValue("name"))
}

// keyOf is the key of a Deployment, of names that can be. It fails with a respond.Error.
func keyOf(namespace, name string) (fleet.Key, error) {
	key := fleet.Key{Namespace: namespace, Name: name}
	if err := eventlog.CheckName("namespace", key.Namespace); err != nil {
		return key, respond.BadRequest(err)
	}
	if err := eventlog.CheckName("Deployment", key.Name); err != nil {
		return key, respond.BadRequest(err)
	}
	return key, nil
}

// PathDevice reads the device that a path names. It fails with a respond.Error.
func PathDevice(r *http.Request) (id string, err error) {
	id = r.PathValue("device")
	if err := eventlog.CheckName("device", id); err != nil {
		return "", respond.BadRequest(err)
	}
	return id, nil
}

// PathSequence reads the sequence of the log that a path names. It fails with a respond.Error.
func PathSequence(r *http.Request) (uint64, error) {
	text := r.PathValue("sequence")
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 {
		return 0, respond.Errorf(http.StatusBadRequest, "%q is no sequence of the log, which is a number from 1.", text)
	}
	return n, nil
}

// unknown says that the fleet had no such thing at the moment.
func (q Question) unknown(kind, name string) error {
	when := "now"
	if !q.At.IsNow() {
		when = "at that moment"
	}
	return respond.Errorf(http.StatusNotFound, "The fleet knows no %s %q %s.", kind, name, when)
}

// oneOf reads a parameter that has one of some values, or none.
func (q Question) oneOf(name string, values []string) (string, error) {
	v := q.values.Get(name)
	if v == "" || slices.Contains(values, v) {
		return v, nil
	}
	return "", respond.Errorf(http.StatusBadRequest, "%s: %q is none of %s.", name, v, strings.Join(values, ", "))
}

// number reads a parameter that is a number from 1; 0 where it is not given.
func (q Question) number(name string) (uint64, error) {
	v := q.values.Get(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil || n == 0 {
		return 0, respond.Errorf(http.StatusBadRequest, "%s: %q is no number from 1.", name, v)
	}
	return n, nil
}

// part reads which part of a list is asked for.
func (q Question) part() (page, size int, err error) {
	p, err := q.number("page")
	if err != nil {
		return 0, 0, err
	}
	s, err := q.number("size")
	if err != nil {
		return 0, 0, err
	}
	if s > maxSize {
		return 0, 0, respond.Errorf(http.StatusBadRequest, "size: %d is above %d.", s, maxSize)
	}
	if s == 0 {
		s = defaultSize
	}
	return int(min(p, 1<<31)), int(s), nil
}
