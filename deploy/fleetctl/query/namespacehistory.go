package query

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// namespaceHistory is which namespace's Deployment of a name each device had, and when.
// What a device says of a Deployment names no namespace: it has one of a name at
// a time, and the log says which. The nil history knows nothing.
type namespaceHistory struct {
	last  uint64 // how far it is known
	spans map[string][]span
}

// span begins with an event that assigned or withdrew.
type span struct {
	from      uint64
	namespace string
}

// ResolveNamespaces makes a selection of one namespace tell its Deployment from namesakes
// elsewhere, up to a sequence. Where there are none it costs one question.
func (s *Selection) ResolveNamespaces(ctx context.Context, js jetstream.JetStream, last uint64) error {
	if s.Namespace == "" {
		return nil
	}
	namespaces, err := NamesInLog(ctx, js, eventlog.DeploymentSubject(eventlog.Wildcard, s.Name), func(a eventlog.Address) string { return a.Namespace })
	if err != nil || !slices.ContainsFunc(namespaces, func(n string) bool { return n != s.Namespace }) {
		return err
	}
	t := &namespaceHistory{spans: map[string][]span{}}
	for e, err := range reader.Read(ctx, js, reader.Options{Until: last, Subjects: []string{eventlog.DesiredSubject(OrWildcard(s.Device), s.Name)}}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		t.add(e, err)
	}
	t.last = max(t.last, last)
	s.namespaces = t
	return nil
}

// add takes an event that is later than all before.
func (t *namespaceHistory) add(e eventlog.Event, foreign error) {
	if t == nil || e.Sequence <= t.last || foreign != nil || e.Address.Family != eventlog.FamilyDesired {
		return
	}
	t.last = e.Sequence
	t.spans[e.Address.Device] = append(t.spans[e.Address.Device], span{e.Sequence, e.Namespace})
}

// at is the namespace at a sequence of the log; empty where the log does not say.
func (t *namespaceHistory) at(device string, sequence uint64) string {
	if t == nil {
		return ""
	}
	all := t.spans[device]
	i, found := slices.BinarySearchFunc(all, sequence, func(a span, at uint64) int {
		switch {
		case a.from < at:
			return -1
		case a.from > at:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	if i < 0 {
		return ""
	}
	return all[i].namespace
}
