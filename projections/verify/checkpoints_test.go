package verify_test

import (
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/verify"
)

// fold folds the log up to a sequence, but for one event.
func (w *world) fold(until, without uint64) *fleet.View {
	w.Helper()
	v := fleet.New()
	for e, err := range reader.Read(w.Context(), w.js, reader.Options{Until: until}) {
		if e.Sequence == 0 {
			w.Fatal(err)
		}
		if e.Sequence != without {
			fleet.Apply(v, e, err)
		}
	}
	return v
}

// Saved folds are held against the log's own; one that is damaged is no
// difference, as nobody believes it.
func TestSavedFoldsAreCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.story()
	log, err := logstream.Inspect(t.Context(), w.js)
	if err != nil {
		t.Fatal(err)
	}
	save := func(v *fleet.View) {
		t.Helper()
		if _, err := (checkpoint.Store{JS: w.js}).Save(t.Context(), log.ID, v); err != nil {
			t.Fatal(err)
		}
	}
	save(w.fold(9, 0))
	save(w.fold(16, 0))
	r := w.verify(verify.Options{})
	wantKinds(t, r, map[verify.Kind]uint64{})
	if r.Checkpoints != 2 {
		t.Errorf("%d checkpoints were compared, want 2", r.Checkpoints)
	}
	save(w.fold(14, 12))
	bucket, err := w.js.ObjectStore(t.Context(), eventlog.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutBytes(t.Context(), eventlog.CheckpointName(fleet.FoldVersion, log.ID, 9), []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	r = w.verify(verify.Options{})
	wantKinds(t, r, map[verify.Kind]uint64{verify.CheckpointDiffers: 1, verify.CheckpointUnusable: 1})
	if r.Checkpoints != 2 {
		t.Errorf("%d checkpoints were compared, want 2", r.Checkpoints)
	}
}
