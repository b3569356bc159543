package dashboard

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// key reads the Deployment that the path names.
func (q question) key() (fleet.Key, error) {
	key := fleet.Key{Namespace: q.PathValue("namespace"), Name: q.PathValue("name")}
	if err := eventlog.CheckName("namespace", key.Namespace); err != nil {
		return key, failure{http.StatusBadRequest, err.Error() + "."}
	}
	if err := eventlog.CheckName("Deployment", key.Name); err != nil {
		return key, failure{http.StatusBadRequest, err.Error() + "."}
	}
	return key, nil
}

// unknown says that the fleet had no such thing at the moment.
func (q question) unknown(kind, name string) error {
	when := "now"
	if !q.at.IsNow() {
		when = "at that moment"
	}
	return failure{http.StatusNotFound, fmt.Sprintf("The fleet knows no %s %q %s.", kind, name, when)}
}

// oneOf reads a parameter that has one of some values, or none.
func (q question) oneOf(name string, values []string) (string, error) {
	v := q.values.Get(name)
	if v == "" || slices.Contains(values, v) {
		return v, nil
	}
	return "", failure{http.StatusBadRequest, fmt.Sprintf("%s: %q is none of %s.", name, v, strings.Join(values, ", "))}
}

// number reads a parameter that is a number from 1; 0 where it is not given.
func (q question) number(name string) (uint64, error) {
	v := q.values.Get(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil || n == 0 {
		return 0, failure{http.StatusBadRequest, fmt.Sprintf("%s: %q is no number from 1.", name, v)}
	}
	return n, nil
}

// part reads which part of a list is asked for.
func (q question) part() (page, size int, err error) {
	p, err := q.number("page")
	if err != nil {
		return 0, 0, err
	}
	s, err := q.number("size")
	if err != nil {
		return 0, 0, err
	}
	if s > maxSize {
		return 0, 0, failure{http.StatusBadRequest, fmt.Sprintf("size: %d is above %d.", s, maxSize)}
	}
	if s == 0 {
		s = defaultSize
	}
	return int(min(p, 1<<31)), int(s), nil
}
