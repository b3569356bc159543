package checkpoint_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

// place is a server with a log of some events, and the fold of it.
type place struct {
	js    jetstream.JetStream
	store checkpoint.Store
	log   logstream.Info
	view  *fleet.View
}

func newPlace(t *testing.T) *place {
	t.Helper()
	_, js := natstest.Start(t).Connect(t)
	log, err := logstream.Ensure(t.Context(), js, logstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &place{js: js, store: checkpoint.Store{JS: js}, log: log, view: fleet.New()}
}

// event appends one event and folds it.
func (p *place) event(t *testing.T) {
	t.Helper()
	seq := p.view.Sequence + 1
	m := &nats.Msg{Subject: eventlog.InfoSubject(fmt.Sprintf("pi-%d", seq)), Data: []byte(`{"device_id":"x"}`)}
	if _, err := p.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for e, err := range reader.Read(t.Context(), p.js, reader.Options{From: seq}) {
		fleet.Apply(p.view, e, err)
	}
}

func (p *place) save(t *testing.T, logID string) checkpoint.Entry {
	t.Helper()
	kept, err := p.store.Save(t.Context(), logID, p.view)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func (p *place) sequences(t *testing.T) []uint64 {
	t.Helper()
	places, err := p.store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for _, at := range places {
		seqs = append(seqs, at.Sequence)
	}
	return seqs
}

// messages counts what the bucket's stream holds.
func (p *place) messages(t *testing.T) uint64 {
	t.Helper()
	s, err := p.js.Stream(t.Context(), eventlog.ObjectStream(eventlog.BucketCheckpoints))
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func TestCheckpointsThatCannotBeUsedArePruned(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var want []uint64
	for range checkpoint.Most + 10 {
		p.event(t)
		p.save(t, p.log.ID)
		want = append(want, p.view.Sequence)
	}
	last := p.view.Sequence
	drop := checkpoint.Thin(want, checkpoint.Most)
	want = slices.DeleteFunc(want, func(s uint64) bool { return slices.Contains(drop, s) })

	p.save(t, "01JDFA7Q6Z0000000000000000") // of another log
	p.view.Sequence += 10
	p.save(t, p.log.ID) // of a tail that was lost
	ctx := t.Context()
	for subject, data := range map[string]string{
		eventlog.ObjectChunkSubject(eventlog.BucketCheckpoints, "halfway"):                                                "a save that was cut short",
		eventlog.ObjectMetaSubject(eventlog.BucketCheckpoints, eventlog.CheckpointName(fleet.FoldVersion+1, p.log.ID, 3)): "{}",
	} {
		if _, err := p.js.Publish(ctx, subject, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}

	if err := p.store.Prune(ctx, p.log.ID, last); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, p.sequences(t)); diff != "" {
		t.Errorf("kept (-want +got)\n%s", diff)
	}
	if n := p.messages(t); n != 2*uint64(len(want)) {
		t.Errorf("the bucket holds %d messages, want two for each of %d checkpoints", n, len(want))
	}
}

func TestNewest(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	none, err := p.store.Newest(t.Context(), p.log.ID, 10)
	if none != (checkpoint.Entry{}) || err != nil {
		t.Errorf("without a bucket: %v, %v", none, err)
	}
	var kept []checkpoint.Entry
	for range 3 {
		p.event(t)
		kept = append(kept, p.save(t, p.log.ID))
	}
	for last, want := range map[uint64]checkpoint.Entry{0: {}, 1: kept[0], 2: kept[1], 3: kept[2], 100: kept[2]} {
		got, err := p.store.Newest(t.Context(), p.log.ID, last)
		if got != want || err != nil {
			t.Errorf("up to %d: %v, %v; want %v", last, got, err, want)
		}
	}
	other, err := p.store.Newest(t.Context(), "another", 100)
	if other != (checkpoint.Entry{}) || err != nil {
		t.Errorf("of another log: %v, %v", other, err)
	}
}

func TestSaveRefusesAnEmptyView(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	if _, err := p.store.Save(t.Context(), p.log.ID, fleet.New()); err == nil {
		t.Error("the empty view was saved")
	}
	p.event(t)
	if _, err := p.store.Save(t.Context(), "", p.view); err == nil {
		t.Error("a view of a log without an id was saved")
	}
}

func TestNearestSaysWhyItPassedOver(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.event(t)
	p.save(t, p.log.ID)
	p.event(t)
	name := checkpoint.Key{Fold: fleet.FoldVersion, LogID: p.log.ID, Sequence: 2}.Name()
	bucket, err := p.js.ObjectStore(t.Context(), eventlog.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutString(t.Context(), name, "no checkpoint"); err != nil {
		t.Fatal(err)
	}
	passed := map[string]error{}
	p.store.Skipped = func(checkpoint string, why error) { passed[checkpoint] = why }
	if v := p.store.Nearest(t.Context(), p.log.ID, 2); v == nil || v.Sequence != 1 {
		t.Errorf("got %v, want the view at sequence 1", v)
	}
	if len(passed) != 1 || passed[name] == nil {
		t.Errorf("passed over: %v, want %s alone", passed, name)
	}
	if v := p.store.Nearest(t.Context(), p.log.ID, 0); v != nil {
		t.Errorf("at most 0: %v", v)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	cancel()
	if v := p.store.Nearest(ctx, p.log.ID, 2); v != nil {
		t.Errorf("with a context that has ended: %v", v)
	}
}
