package migration

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// ErrPlainBuckets says that the target has buckets of the original design, which are
// the only copy of what is in them.
var ErrPlainBuckets = errors.New("buckets of the original design")

// checkBuckets fails with ErrPlainBuckets where the target has buckets that clients
// write: those of the log would take their place.
func checkBuckets(ctx context.Context, js jetstream.JetStream) error {
	var found []string
	for _, b := range eventlog.Buckets() {
		s, err := js.Stream(ctx, eventlog.BucketStream(b))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("bucket %s: %w", b, err)
		}
		if plain(s.CachedInfo().Config) {
			found = append(found, b)
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("the target has %w: %s", ErrPlainBuckets, strings.Join(found, ", "))
	}
	return nil
}

// readTarget reads the log up to a sequence (0: to its end), and the last pulses.
func readTarget(ctx context.Context, js jetstream.JetStream, until uint64, progress func(done, total uint64)) (Target, error) {
	t := NewTarget()
	_, err := logstream.Inspect(ctx, js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	for e, err := range reader.Read(ctx, js, reader.Options{Until: until, Progress: progress}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return t, err
		}
		fleet.Apply(t.View, e, err)
		if err == nil {
			t.note(e)
		}
	}
	return t, t.readPulses(ctx, js)
}

func (t *Target) note(e eventlog.Event) {
	imported := e.Source == EventSource
	if imported && e.ID != "" {
		t.Imported[e.ID] = true
	}
	switch e.Address.Family {
	case eventlog.FamilyDesired, eventlog.FamilyInfo, eventlog.FamilyState:
		t.Last[strings.Clone(e.Subject)] = Last{Imported: imported, Removal: e.Type.Removes(), Data: e.Data}
	case eventlog.FamilyDevice:
		switch e.Type {
		case eventlog.DeviceRelabeled:
			t.Labelled[e.Address.Device] = t.Labelled[e.Address.Device] || !imported
		case eventlog.DeviceDecommissioned:
			delete(t.Labelled, e.Address.Device) // with its Device
		}
	case eventlog.FamilyDeployment:
		key := fleet.Key{Namespace: e.Address.Namespace, Name: e.Address.Name}
		if e.Type == eventlog.DeploymentDeleted {
			t.Decided[key] = !imported
		}
		if e.Type != eventlog.DeploymentApplied {
			return
		}
		d, err := eventlog.Payload[eventlog.Deployment](e)
		if err != nil {
			return // foreign, and folded as such
		}
		if t.Revisions[key] == nil {
			t.Revisions[key] = map[string]uint64{}
		}
		t.Revisions[key][d.ScoreHash] = d.Revision
		t.Decided[key] = !imported
	}
}

// readPulses reads what the target has of the devices' pulses.
func (t *Target) readPulses(ctx context.Context, js jetstream.JetStream) error {
	_, err := js.Stream(ctx, eventlog.PulseStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", eventlog.PulseStream, err)
	}
	for m, err := range reader.Stored(ctx, js, eventlog.PulseStream, 1) {
		if err != nil {
			return fmt.Errorf("stream %s: %w", eventlog.PulseStream, err)
		}
		if d, ok := eventlog.DeviceOfPulse(m.Subject); ok {
			t.Pulses[d] = Last{Imported: eventlog.HeaderValue(m.Header, eventlog.HeaderSource) == EventSource, Data: m.Data}
		}
	}
	return nil
}
