package eventsapi

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/spelling"
)

// Bounds of a page, in events.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// query is what is asked for. The zero value asks for the newest events of all.
type query struct {
	namespace, deployment, device string

	types    map[eventlog.Type]struct{}
	prefixes []string // of types, each with its dot

	since, until time.Time // zero: unbounded
	from, to     uint64    // sequences; to 0: unbounded
	limit        int
	ascending    bool
	data         bool
	only         func(*eventlog.Event, error) bool // nil: all that the rest lets through
	asked        string                            // the same for the same question
}

// parameters are the names of the parameters, each with what it sets.
var parameters = map[string]func(*query, []string) error{
	"namespace":  func(q *query, v []string) error { return one(&q.namespace, "namespace", v) },
	"deployment": func(q *query, v []string) error { return one(&q.deployment, "Deployment", v) },
	"device":     func(q *query, v []string) error { return one(&q.device, "device", v) },
	"type":       (*query).readTypes,
	"since":      func(q *query, v []string) error { return bound(v[0], &q.since, &q.from) },
	"until":      (*query).readUntil,
	"after":      (*query).readAfter,
	"before":     (*query).readBefore,
	"limit":      (*query).readLimit,
	"order":      (*query).readOrder,
	"data":       (*query).readData,
}

// parse reads the parameters of a request. An empty one is as one that is not there, for
// that is what a dashboard's variable is that stands for all. Its errors are sentences for
// the person who asked.
func parse(values url.Values) (query, error) {
	q := query{limit: DefaultLimit}
	given := url.Values{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, known := parameters[name]; !known {
			return q, fmt.Errorf("there is no parameter %q; %s", name, meant(name, slices.Sorted(maps.Keys(parameters))))
		}
		v := slices.DeleteFunc(slices.Clone(values[name]), func(s string) bool { return s == "" })
		if len(v) == 0 {
			continue
		}
		if len(v) > 1 && name != "type" {
			return q, fmt.Errorf("give %s once", name)
		}
		given[name] = v
	}
	// A bound by sequence and a cursor narrow the same range, so cursors are read last.
	for _, name := range []string{"namespace", "deployment", "device", "type", "since", "until", "after", "before", "limit", "order", "data"} {
		if v := given[name]; len(v) > 0 {
			if err := parameters[name](&q, v); err != nil {
				return q, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if !q.since.IsZero() && !q.until.IsZero() && q.until.Before(q.since) {
		return q, fmt.Errorf("until, %s, is before since, %s", q.until.Format(time.RFC3339), q.since.Format(time.RFC3339))
	}
	q.asked = given.Encode()
	return q, nil
}

func one(to *string, what string, v []string) error {
	if err := eventlog.CheckName(what, v[0]); err != nil {
		return err
	}
	*to = v[0]
	return nil
}

func (q *query) readTypes(v []string) error {
	q.types = map[eventlog.Type]struct{}{}
	var names []string
	for _, t := range eventlog.Types() {
		names = append(names, string(t))
	}
	slices.Sort(names)
	for _, text := range v {
		for _, name := range strings.Split(text, ",") {
			prefix := strings.TrimSuffix(name, "*")
			isPrefix := strings.HasSuffix(prefix, ".")
			switch {
			case isPrefix && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, prefix) }):
				q.prefixes = append(q.prefixes, prefix)
			case !isPrefix && slices.Contains(names, name):
				q.types[eventlog.Type(name)] = struct{}{}
			default:
				return fmt.Errorf("there is no event type %q; %s, or ask for all that begin alike: rollout. is such a prefix", name, meant(name, names))
			}
		}
	}
	return nil
}

// meant says which names a person may have meant.
func meant(name string, names []string) string {
	if near := spelling.Closest(name, names); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return "there are " + strings.Join(names, ", ")
}

// leastMillis is the least number that is a moment and no sequence: no log has as many
// events, and as milliseconds it is in the year 1973.
const leastMillis = 100_000_000_000

// bound reads RFC 3339, milliseconds since 1970 as Grafana writes them, or a sequence.
func bound(text string, moment *time.Time, sequence *uint64) error {
	if n, err := strconv.ParseUint(text, 10, 63); err == nil {
		if n < leastMillis {
			*sequence = n
		} else {
			*moment = time.UnixMilli(int64(n)).UTC()
		}
		return nil
	}
	t, err := time.Parse(time.RFC3339, WithPlus(text))
	if err != nil {
		return fmt.Errorf("%q is neither a moment such as 2026-11-24T14:03:00Z, nor milliseconds since 1970, nor a sequence of the log", text)
	}
	*moment = t.UTC()
	return nil
}

// WithPlus is a text of a query with the plus of a time's offset (2026-11-24T16:03:00+02:00), which is
// a space where the client sent it as it is.
func WithPlus(text string) string {
	before, offset, ok := strings.Cut(text, " ")
	if _, err := time.Parse(time.RFC3339, before+"+"+offset); !ok || err != nil {
		return text
	}
	return before + "+" + offset
}

func (q *query) readUntil(v []string) error {
	if err := bound(v[0], &q.until, &q.to); err != nil {
		return err
	}
	if q.until.IsZero() && q.to == 0 {
		return errors.New("the first event of the log has the sequence 1")
	}
	return nil
}

func cursor(v []string) (uint64, error) {
	n, err := strconv.ParseUint(v[0], 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is no sequence: give what an answer has as next", v[0])
	}
	return n, nil
}

func (q *query) readAfter(v []string) error {
	n, err := cursor(v)
	q.from = max(q.from, n+1)
	return err
}

func (q *query) readBefore(v []string) error {
	n, err := cursor(v)
	if err == nil && n < 2 {
		n = 2 // nothing is before the first event
		q.from = 2
	}
	if q.to == 0 || n-1 < q.to {
		q.to = n - 1
	}
	return err
}

func (q *query) readLimit(v []string) error {
	n, err := strconv.Atoi(v[0])
	if err != nil || n < 1 || n > MaxLimit {
		return fmt.Errorf("%q is no number from 1 to %d", v[0], MaxLimit)
	}
	q.limit = n
	return nil
}

func (q *query) readOrder(v []string) error {
	switch v[0] {
	case "asc":
		q.ascending = true
	case "desc":
	default:
		return fmt.Errorf("%q is neither asc, the oldest first, nor desc", v[0])
	}
	return nil
}

func (q *query) readData(v []string) (err error) {
	if q.data, err = strconv.ParseBool(v[0]); err != nil {
		return fmt.Errorf("%q is neither true nor false", v[0])
	}
	return nil
}
