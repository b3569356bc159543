package operator_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/testlog"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

// record is a log that can be read while it is written.
type record struct{ testlog.Buffer }

func (r *record) said(text string) bool { return strings.Contains(r.String(), text) }

func (r *record) logged(o *operator.Options) { o.Logger = slog.New(slog.NewTextHandler(r, nil)) }

func (w *world) newest() uint64 {
	w.t.Helper()
	log, err := logstream.Inspect(w.t.Context(), w.js)
	if err != nil {
		w.t.Fatal(err)
	}
	kept, err := (checkpoint.Store{JS: w.js}).Newest(w.t.Context(), log.ID, log.Last)
	if err != nil {
		w.t.Fatal(err)
	}
	return kept.Sequence
}

func TestALeaderSavesCheckpointsAndTheNextBeginsFromThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.operate(func(o *operator.Options) { o.CheckpointEvents = 40 })
	w.logged()
	devices := make([]*device, 5)
	for i := range devices {
		devices[i] = w.device(fmt.Sprintf("pi-%d", i), map[string]string{"site": "lab"})
	}
	w.labelled("pi-0", "pi-1", "pi-2", "pi-3", "pi-4")
	w.apply(deployment("default", "web", "app:1", map[string]string{"site": "lab"}))
	w.ready("default", "web", "AllSucceeded")
	for n := range 400 { // the log grows by several times a checkpoint
		devices[n%5].info()
	}
	eventually(t, "a checkpoint", func() string {
		if first.metric(t, "fleet_operator_checkpoints_total") < 1 {
			return "none is counted"
		}
		if got, want := first.metric(t, "fleet_operator_checkpoint_last_sequence"), float64(w.newest()); got != want || got == 0 {
			return fmt.Sprintf("the metric says %.0f, the bucket %.0f", got, want)
		}
		return ""
	})
	for n := range 100 {
		devices[n%5].info()
	}
	select { // all is in the log, of which at most these are not saved
	case <-w.js.PublishAsyncComplete():
	case <-time.After(timeout):
		t.Fatalf("of %d reports no acknowledgement came", w.js.PublishAsyncPending())
	}
	first.stop()
	log, err := logstream.Inspect(t.Context(), w.js)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.newest(); got < log.Last-100 || got == 0 {
		t.Errorf("after the stop the newest checkpoint is at %d, the log at %d", got, log.Last)
	}
	zero, err := asof.At(t.Context(), w.js, asof.Moment{}, asof.Options{NoCheckpoints: true})
	if err != nil {
		t.Fatal(err)
	}
	near, err := asof.At(t.Context(), w.js, asof.Moment{}, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytesOf(t, zero), bytesOf(t, near)) {
		t.Error("from the saved checkpoint the view is another")
	}

	said := len(w.told(eventlog.FamilyDeployment, eventlog.FamilyDesired, eventlog.FamilyDevice))
	var out record
	second := w.operate(out.logged, func(o *operator.Options) { o.Identity = "op-2" })
	eventually(t, "the second leads", func() string {
		if second.metric(t, "fleet_operator_leader") != 1 {
			return "it does not"
		}
		return ""
	})
	if !out.said("folding the event log from a checkpoint") {
		t.Error("the second operator folded the log from its beginning")
	}
	devices[0].report("web", eventlog.PhaseFailed, eventlog.Hash([]byte(w.desired("pi-0.web"))), "boom")
	w.ready("default", "web", "DeviceFailed")
	if now := w.told(eventlog.FamilyDeployment, eventlog.FamilyDesired, eventlog.FamilyDevice); len(now) != said {
		t.Errorf("the second operator said again what the log had: %v", now[said:])
	}
}

// What cannot be saved is said, and nothing else comes of it.
func TestACheckpointThatCannotBeSavedCostsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{ // of other hands, in memory: it cannot become a bucket
		Name: eventlog.ObjectStream(eventlog.BucketCheckpoints), Subjects: []string{"other.>"}, Storage: jetstream.MemoryStorage,
	})
	if err != nil {
		t.Fatal(err)
	}
	var out record
	r := w.operate(out.logged, func(o *operator.Options) { o.CheckpointEvents = 5 })
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	w.apply(deployment("default", "web", "app:1", map[string]string{"site": "lab"}))
	w.ready("default", "web", "AllSucceeded")
	eventually(t, "a failure is counted and said", func() string {
		if r.metric(t, "fleet_operator_checkpoints_total") < 1 || !out.said("cannot save a checkpoint") {
			return "not yet"
		}
		return ""
	})
	w.apply(deployment("default", "api", "app:1", map[string]string{"site": "lab"}))
	w.ready("default", "api", "AllSucceeded")
	if out.said("saved a checkpoint") {
		t.Error("it is said that one was saved")
	}
}

func TestWithoutCheckpointsNoneIsSavedAndNoneIsBegunFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.operate(func(o *operator.Options) { o.CheckpointEvents = -1 })
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	w.apply(deployment("default", "web", "app:1", map[string]string{"site": "lab"}))
	w.ready("default", "web", "AllSucceeded")
	first.stop()
	if _, err := w.js.ObjectStore(t.Context(), eventlog.BucketCheckpoints); err == nil {
		t.Error("a bucket was made")
	}
}

func bytesOf(t *testing.T, v *fleet.View) []byte {
	t.Helper()
	b, err := fleet.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
