package fleetctl

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// tenancy is which namespace's Deployment of a name each device had, and when.
// What a device says of a Deployment names no namespace: it has one of a name at
// a time, and the log says which. The nil tenancy knows nothing.
type tenancy struct {
	last    uint64 // how far it is known
	tenures map[string][]tenure
}

// tenure begins with an event that assigned or withdrew.
type tenure struct {
	from      uint64
	namespace string
}

// settle makes a selection of one namespace tell its Deployment from namesakes
// elsewhere, up to a sequence. Where there are none it costs one question.
func (s *selection) settle(ctx context.Context, js jetstream.JetStream, last uint64) error {
	if s.namespace == "" {
		return nil
	}
	namespaces, err := namesInLog(ctx, js, eventlog.DeploymentSubject(eventlog.Wildcard, s.name), func(a eventlog.Address) string { return a.Namespace })
	if err != nil || !slices.ContainsFunc(namespaces, func(n string) bool { return n != s.namespace }) {
		return err
	}
	t := &tenancy{tenures: map[string][]tenure{}}
	for e, err := range reader.Read(ctx, js, reader.Options{Until: last, Subjects: []string{eventlog.DesiredSubject(orAny(s.device), s.name)}}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		t.learn(e, err)
	}
	t.last = max(t.last, last)
	s.tenants = t
	return nil
}

// learn heeds an event that is later than all before.
func (t *tenancy) learn(e eventlog.Event, foreign error) {
	if t == nil || e.Sequence <= t.last || foreign != nil || e.Address.Family != eventlog.FamilyDesired {
		return
	}
	t.last = e.Sequence
	t.tenures[e.Address.Device] = append(t.tenures[e.Address.Device], tenure{e.Sequence, e.Namespace})
}

// of is the namespace at a place in the log; empty where the log does not say.
func (t *tenancy) of(device string, sequence uint64) string {
	if t == nil {
		return ""
	}
	all := t.tenures[device]
	i, found := slices.BinarySearchFunc(all, sequence, func(a tenure, at uint64) int {
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
