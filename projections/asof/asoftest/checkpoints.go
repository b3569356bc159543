package asoftest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

// Checkpoints are what SaveAsALeader saved.
type Checkpoints struct {
	Saved int
	Bytes uint64        // of all of them
	Spent time.Duration // on all of them
}

// SaveAsALeader folds a log once and saves the checkpoints that an operator which led all the
// time would have saved when the log was as long, and forgets those that it would have
// forgotten.
func SaveAsALeader(tb testing.TB, js jetstream.JetStream, log logstream.Info) (c Checkpoints) {
	tb.Helper()
	store := checkpoint.Store{JS: js}
	every := min(checkpoint.DefaultEvents, log.Last/8)
	v, newest := fleet.New(), checkpoint.Entry{}
	for e, err := range reader.Read(tb.Context(), js, reader.Options{}) {
		fleet.Apply(v, e, err)
		then := logstream.Info{ID: log.ID, First: 1, Last: v.Sequence, Bytes: uint64(float64(log.Bytes) / float64(log.Last) * float64(v.Sequence))}
		if !checkpoint.Due(then, newest, every) {
			continue
		}
		begun := time.Now()
		if newest, err = store.Save(tb.Context(), log.ID, v); err != nil {
			tb.Fatal(err)
		}
		if err := store.Prune(tb.Context(), log.ID, v.Sequence); err != nil {
			tb.Fatal(err)
		}
		c.Spent += time.Since(begun)
		c.Saved++
		c.Bytes += newest.Bytes
	}
	if c.Saved == 0 {
		tb.Fatalf("no checkpoint was due in %d events", log.Last)
	}
	return c
}
