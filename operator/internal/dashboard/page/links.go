package page

import (
	"maps"
	"net/url"
	"strconv"
	"strings"
)

// To is the address of another page at the same moment. Its parts are escaped.
func (p Page) To(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		b.WriteString("/" + url.PathEscape(part))
	}
	if b.Len() == 0 {
		b.WriteString("/")
	}
	return p.list(b.String(), map[string]string{})
}

// ToDevices is the address of the list of devices that have a Deployment, in a state.
func (p Page) ToDevices(deployment, state string) string {
	return p.list("/devices", map[string]string{"deployment": deployment, "state": state})
}

// ToDeployments is the address of the list of Deployments in a state.
func (p Page) ToDeployments(state string) string {
	return p.list("/deployments", map[string]string{"state": state})
}

// list is the address of a list at the same moment.
func (p Page) list(path string, filter map[string]string) string {
	q := url.Values{}
	filter["at"], filter[Axis] = p.Query.Get("at"), p.Query.Get(Axis)
	if p.Name == Changes { // its second moment
		filter["at"], filter[Axis] = p.Query.Get("to"), ""
		if is := p.Query.Get(Axis); is != "" && filter["at"] != "" {
			filter[Axis] = Happened
		}
	}
	for k, v := range filter {
		if v != "" {
			q.Set(k, v)
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// At is the address of this page at a sequence; 0: now.
func (p Page) At(sequence uint64) string {
	if sequence == 0 {
		p.Query = maps.Clone(p.Query)
		delete(p.Query, Axis)
		return p.With("at", "")
	}
	return p.With("at", strconv.FormatUint(sequence, 10))
}

// With is the address of this page with another value of a parameter; empty: without it.
func (p Page) With(name, value string) string {
	q := url.Values{}
	for k, v := range p.Query {
		stays := k != "page" || name == "at" // another filter begins with the first part of a list
		cursor := k == "before" || k == "after"
		if k != name && stays && !cursor {
			q[k] = v
		}
	}
	if value != "" {
		q.Set(name, value)
	}
	if len(q) == 0 {
		return p.Path
	}
	return p.Path + "?" + q.Encode()
}

// AsKnown is the address of this page with what the log knew at its moment.
func (p Page) AsKnown() string { return p.With(Axis, "") }

// AsHappened is the address of this page with what was true at its moment.
func (p Page) AsHappened() string { return p.With(Axis, Happened) }

// ComparedAxes is the address of the comparison of the two.
func (p Page) ComparedAxes() string {
	at := p.Query.Get("at")
	return "/changes?" + url.Values{"from": {at}, "to": {at}, Axis: {Both}}.Encode()
}

// ToChanges is the address of what changed up to the moment of this page.
func (p Page) ToChanges() string {
	q := url.Values{}
	if at := p.Query.Get("at"); at != "" {
		q.Set("to", at)
		if is := p.Query.Get(Axis); is != "" {
			q.Set(Axis, is)
		}
	}
	if len(q) == 0 {
		return "/changes"
	}
	return "/changes?" + q.Encode()
}

// ChangesSince is the address of what changed since the moment of this page.
func (p Page) ChangesSince() string {
	q := url.Values{"from": {strconv.FormatUint(p.Moment.Sequence, 10)}}
	if p.Moment.AsHappened {
		q.Set(Axis, Happened)
	}
	return "/changes?" + q.Encode()
}

// ToEvents is the address of the list of events with filters, as name=value.
func (p Page) ToEvents(filters ...string) string {
	all := map[string]string{}
	for _, f := range filters {
		name, value, _ := strings.Cut(f, "=")
		all[name] = value
	}
	return p.list("/events", all)
}

// ToEvent is the address of the page of an event, at the same moment where that has it.
func (p Page) ToEvent(sequence uint64) string {
	path := "/events/" + strconv.FormatUint(sequence, 10)
	if sequence > p.Moment.Sequence {
		return path
	}
	return p.list(path, map[string]string{})
}

// Just is the address of another page just after an event.
func (p Page) Just(sequence uint64, parts ...string) string {
	p.Query = url.Values{"at": {strconv.FormatUint(sequence, 10)}}
	return p.To(parts...)
}

// Older is the address of the part of the list of events before a sequence.
func (p Page) Older(before uint64) string { return p.beside("before", "after", before) }

// Newer is the address of the part of the list of events after a sequence.
func (p Page) Newer(after uint64) string { return p.beside("after", "before", after) }

func (p Page) beside(name, other string, sequence uint64) string {
	p.Query = maps.Clone(p.Query)
	delete(p.Query, other)
	return p.With(name, strconv.FormatUint(sequence, 10))
}

// Move is the address of this comparison with one of its ends at a sequence.
func (p Page) Move(h Handle, sequence uint64) string {
	return p.With(h.Name, strconv.FormatUint(sequence, 10))
}

// Swapped is the address of this comparison in the other direction.
func (p Page) Swapped() string {
	from, to := p.Query.Get("from"), p.Query.Get("to")
	p.Query = maps.Clone(p.Query)
	p.Query.Set("to", from)
	return p.With("from", to)
}

// Overview is the address of the overview at an end of this comparison.
func (p Page) Overview(h Handle) string {
	if h.Moment.Now {
		return "/"
	}
	q := url.Values{"at": {strconv.FormatUint(h.Moment.Sequence, 10)}}
	if h.Moment.AsHappened {
		q.Set(Axis, Happened)
	}
	return "/?" + q.Encode()
}
