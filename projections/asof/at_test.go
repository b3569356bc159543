package asof_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

const bucket = eventlog.BucketCheckpoints

// fixture is a log of 600 events with checkpoints at each hundred but the last.
type fixture struct {
	js    jetstream.JetStream
	store checkpoint.Store
	log   logstream.Info
	life  *asoftest.Life
}

var saved = []uint64{100, 200, 300, 400, 500}

func newFixture(t *testing.T, js jetstream.JetStream) *fixture {
	t.Helper()
	f := &fixture{js: js, store: checkpoint.Store{JS: js}, life: asoftest.NewLife(t, js, 20)}
	f.life.Append(600)
	f.log = logOf(t, js)
	for _, seq := range saved {
		f.save(t, seq)
	}
	return f
}

func (f *fixture) save(t *testing.T, seq uint64) {
	t.Helper()
	v, err := asof.At(t.Context(), f.js, asof.Moment{Sequence: seq}, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Save(t.Context(), f.log.ID, v); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) objects(t *testing.T) jetstream.ObjectStore {
	t.Helper()
	o, err := f.js.ObjectStore(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (f *fixture) name(seq uint64) string {
	return checkpoint.Key{Fold: fleet.FoldVersion, LogID: f.log.ID, Sequence: seq}.Name()
}

func (f *fixture) content(t *testing.T, seq uint64) []byte {
	t.Helper()
	b, err := f.objects(t).GetBytes(t.Context(), f.name(seq))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *fixture) put(t *testing.T, name string, content []byte) {
	t.Helper()
	if _, err := f.objects(t).PutBytes(t.Context(), name, content); err != nil {
		t.Fatal(err)
	}
}

// chunks is the subject that holds a checkpoint's content.
func (f *fixture) chunks(t *testing.T, seq uint64) string {
	t.Helper()
	info, err := f.objects(t).GetInfo(t.Context(), f.name(seq))
	if err != nil {
		t.Fatal(err)
	}
	return eventlog.ObjectChunkSubject(bucket, info.NUID)
}

func (f *fixture) purge(t *testing.T, subject string) {
	t.Helper()
	s, err := f.js.Stream(t.Context(), eventlog.ObjectStream(bucket))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) publish(t *testing.T, subject string, data []byte) {
	t.Helper()
	if _, err := f.js.Publish(t.Context(), subject, data); err != nil {
		t.Fatal(err)
	}
}

func logOf(t *testing.T, js jetstream.JetStream) logstream.Info {
	t.Helper()
	log, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// A checkpoint costs time, never truth: whatever became of them, the past is
// what a fold by brute force makes of the log, and no reader is stopped.
func TestDamagedCheckpointsNeverChangeThePast(t *testing.T) {
	t.Parallel()
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	tests := map[string]struct {
		damage func(t *testing.T, f *fixture)
		from   uint64 // where the fold up to 350 begins then
	}{
		"they are as they were saved": {func(*testing.T, *fixture) {}, 300},
		"the nearest is missing": {func(t *testing.T, f *fixture) {
			if err := f.objects(t).Delete(t.Context(), f.name(300)); err != nil {
				t.Fatal(err)
			}
		}, 200},
		"a bit of the nearest is altered": {func(t *testing.T, f *fixture) {
			b := f.content(t, 300)
			subject := f.chunks(t, 300)
			f.purge(t, subject)
			f.publish(t, subject, flip(b, len(b)/2))
		}, 200},
		"two in a row are altered, with a digest that fits": {func(t *testing.T, f *fixture) {
			for _, seq := range []uint64{200, 300} {
				b := f.content(t, seq)
				f.put(t, f.name(seq), flip(b, len(b)-1))
			}
		}, 100},
		"the content of the nearest is gone": {func(t *testing.T, f *fixture) { f.purge(t, f.chunks(t, 300)) }, 200},
		"the nearest has a part too many":    {func(t *testing.T, f *fixture) { f.publish(t, f.chunks(t, 300), []byte("more")) }, 200},
		"what is said of the nearest cannot be read": {func(t *testing.T, f *fixture) {
			f.publish(t, eventlog.ObjectMetaSubject(bucket, f.name(300)), []byte("no JSON"))
		}, 200},
		"an answer was aimed at the bucket": {func(t *testing.T, f *fixture) {
			f.publish(t, eventlog.ObjectMetaSubject(bucket, "x")+"%", []byte(`{"stream":"FLEET","seq":7}`))
			f.publish(t, eventlog.ObjectMetaSubject(bucket, f.name(300)), []byte(`{"stream":"FLEET","seq":7}`))
		}, 200},
		"the nearest is of another version of the fold": {func(t *testing.T, f *fixture) {
			b := bytes.Replace(f.content(t, 300), fmt.Appendf(nil, `"fold":%d`, fleet.FoldVersion), []byte(`"fold":999`), 1)
			f.put(t, f.name(300), b)
		}, 200},
		"all are named for another version of the fold": {func(t *testing.T, f *fixture) {
			for _, seq := range saved {
				f.put(t, eventlog.CheckpointName(fleet.FoldVersion+1, f.log.ID, seq), f.content(t, seq))
				f.purge(t, eventlog.ObjectMetaSubject(bucket, f.name(seq)))
			}
		}, 0},
		"the nearest is of another log": {func(t *testing.T, f *fixture) {
			b := bytes.Replace(f.content(t, 300), []byte(f.log.ID), []byte("01JDFA7Q6Z0000000000000000"), 1)
			f.put(t, f.name(300), b)
		}, 200},
		"the nearest is of another sequence": {func(t *testing.T, f *fixture) { f.put(t, f.name(300), f.content(t, 500)) }, 200},
		"the nearest was saved when the log had another message there": {func(t *testing.T, f *fixture) {
			v, err := fleet.Decode(bodyOf(f.content(t, 300)))
			if err != nil {
				t.Fatal(err)
			}
			v.Recorded = v.Recorded.Add(time.Nanosecond)
			v.Devices = map[string]*fleet.Device{}
			if _, err := f.store.Save(t.Context(), f.log.ID, v); err != nil {
				t.Fatal(err)
			}
		}, 200},
		"the view of the nearest is damaged, and its SHA-256 fits": {func(t *testing.T, f *fixture) {
			b := f.content(t, 300)
			body := []byte("no view")
			was, is := sha256.Sum256(bodyOf(b)), sha256.Sum256(body)
			head := bytes.Replace(b[:len(b)-len(bodyOf(b))], []byte(hex.EncodeToString(was[:])), []byte(hex.EncodeToString(is[:])), 1)
			f.put(t, f.name(300), append(head, body...))
		}, 200},
		"the bucket is gone": {func(t *testing.T, f *fixture) {
			if err := f.js.DeleteObjectStore(t.Context(), bucket); err != nil {
				t.Fatal(err)
			}
		}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, js := natstest.Start(t).Connect(t)
			f := newFixture(t, js)
			tt.damage(t, f)

			moments := []uint64{1, 99, 100, 101, 250, 299, 300, 301, 350, 400, 499, 555, 600}
			want := asoftest.Brute(t, js, moments...)
			for _, seq := range moments {
				folded := uint64(0)
				v, err := asof.At(t.Context(), js, asof.Moment{Sequence: seq}, asof.Options{
					Progress: func(done, _ uint64) { folded = done },
				})
				if err != nil {
					t.Fatal(err)
				}
				same(t, fmt.Sprintf("sequence %d", seq), asoftest.Encode(t, v), want[seq])
				if seq == 350 && folded != 350-tt.from {
					t.Errorf("the fold up to 350 took %d events, want it to begin at %d", folded, tt.from)
				}
			}
			v, err := asof.At(t.Context(), js, asof.Moment{}, asof.Options{NoCheckpoints: true})
			if err != nil {
				t.Fatal(err)
			}
			same(t, "now, without checkpoints", asoftest.Encode(t, v), want[600])
		})
	}
}

func bodyOf(content []byte) []byte {
	_, body, _ := bytes.Cut(content, []byte("\n"))
	return body
}

// The log loses its tail in a power cut and grows again: the sequences are the
// same, the messages are not, and the checkpoints of what was lost are there.
func TestCheckpointsOfALostTailAreRejected(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	l := asoftest.NewLife(t, js, 20)
	l.Append(250)
	dir := filepath.Join(s.Dir(), "jetstream", "$G", "streams", eventlog.LogStream)
	before := t.TempDir()
	s.Stop()
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s.Start()
	_, js = s.Connect(t)
	f := &fixture{js: js, store: checkpoint.Store{JS: js}, log: logOf(t, js), life: asoftest.NewLife(t, js, 20)}
	f.life.Append(350)
	for _, seq := range saved {
		f.save(t, seq)
	}
	s.Stop()
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(before))); err != nil {
		t.Fatal(err)
	}
	s.Start()
	_, js = s.Connect(t)
	again := asoftest.NewLife(t, js, 7)
	again.Append(150) // to 400

	moments := []uint64{150, 250, 299, 300, 350, 400}
	want := asoftest.Brute(t, js, moments...)
	for _, seq := range moments {
		v, err := asof.At(t.Context(), js, asof.Moment{Sequence: seq}, asof.Options{})
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("sequence %d", seq), asoftest.Encode(t, v), want[seq])
	}

	store := checkpoint.Store{JS: js}
	if err := store.Prune(t.Context(), f.log.ID, 400); err != nil {
		t.Fatal(err)
	}
	places, err := store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(places, func(p checkpoint.Key) bool { return p.Sequence > 400 }) {
		t.Errorf("kept beyond the log's end: %v", places)
	}
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if want == nil || !bytes.Equal(got, want) {
		t.Errorf("%s: the view differs from the fold by brute force (%d bytes, want %d)", what, len(got), len(want))
	}
}

// Whatever view is given to go on from, near or far or too late, and whatever is saved,
// the past is what a fold by brute force makes of it.
func TestAFoldThatGoesOnFromAGivenViewEqualsOneFromTheBeginning(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	f := newFixture(t, js)
	moments := []uint64{1, 150, 350, 351, 600}
	want := asoftest.Brute(t, js, moments...)
	for _, from := range moments {
		for _, at := range moments {
			for _, alone := range []bool{false, true} {
				given, err := fleet.Decode(want[from])
				if err != nil {
					t.Fatal(err)
				}
				v, err := asof.AtSequence(t.Context(), js, f.log, at, asof.Options{From: given, NoCheckpoints: alone})
				if err != nil {
					t.Fatal(err)
				}
				if got, err := fleet.Encode(v); err != nil || !bytes.Equal(got, want[at]) {
					t.Errorf("from %d to %d it is another view (%v)", from, at, err)
				}
			}
		}
	}
}
