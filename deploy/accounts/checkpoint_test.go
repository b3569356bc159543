package accounts_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

// A person who may only read begins from the operator's checkpoints, of several
// parts too, and cannot put others in their place.
func TestAPersonReadsCheckpointsAndWritesNone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		world    func(*testing.T) *world
		replicas int
	}{
		"one server":    {newWorld, 1},
		"three servers": {newCluster, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := tt.world(t)
			ctx, cancel := context.WithTimeout(t.Context(), 3*timeout)
			defer cancel()
			drafts := make([]eventlog.Draft, 10_000)
			for i := range drafts {
				drafts[i] = assigned("d"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676)), "web")
			}
			w.lead(drafts)
			log, err := logstream.Inspect(ctx, w.js)
			if err != nil {
				t.Fatal(err)
			}
			zero, err := asof.AtSequence(ctx, w.js, log, log.Last-100, asof.Options{NoCheckpoints: true})
			if err != nil {
				t.Fatal(err)
			}
			var kept checkpoint.Entry
			eventually(t, "the checkpoint is saved", func() bool { // a bucket that was just made may have no leader yet
				try, end := context.WithTimeout(ctx, 20*time.Second)
				defer end()
				kept, err = checkpoint.Store{JS: w.js, Replicas: tt.replicas}.Save(try, log.ID, zero)
				return err == nil
			})
			eventually(t, "each server has the checkpoint", func() bool { // any of them answers who reads it
				try, end := context.WithTimeout(ctx, 5*time.Second)
				defer end()
				s, err := w.js.Stream(try, "OBJ_"+eventlog.BucketCheckpoints)
				if err != nil {
					return false
				}
				c := s.CachedInfo().Cluster
				return c == nil || !slices.ContainsFunc(c.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current || p.Lag > 0 })
			})
			if kept.Bytes <= 128<<10 {
				t.Errorf("the checkpoint has %d bytes: it should be more than one part", kept.Bytes)
			}

			var refused violations
			nc, js := w.as(alice, refused.option())
			folded := uint64(0)
			near, err := asof.At(ctx, js, asof.Moment{}, asof.Options{
				PassedOver: func(checkpoint string, why error) { t.Errorf("%s was passed over: %v", checkpoint, why) },
				Progress:   func(done, _ uint64) { folded = done },
			})
			if err != nil {
				t.Fatal(err)
			}
			if folded != 100 {
				t.Errorf("%d events were folded, want the 100 since the checkpoint", folded)
			}
			whole, err := asof.At(ctx, js, asof.Moment{}, asof.Options{NoCheckpoints: true})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(bytesOf(t, near), bytesOf(t, whole)) {
				t.Error("from the checkpoint the view is another")
			}
			refused.mu.Lock()
			if len(refused.all) > 0 {
				t.Errorf("a read was refused: %v", refused.all)
			}
			refused.mu.Unlock()

			name := checkpoint.Key{Fold: fleet.FoldVersion, LogID: log.ID, Sequence: kept.Sequence}.Name()
			meta := eventlog.ObjectMetaSubject(eventlog.BucketCheckpoints, name)
			for _, user := range []string{alice, "legacy-" + old} {
				hostile, _ := w.as(user, refused.option())
				if err := hostile.Publish(meta, []byte("{}")); err != nil {
					t.Fatal(err)
				}
				if err := hostile.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the puts are refused", func() bool { return refused.of("publish", meta) })
			brief, end := context.WithTimeout(ctx, 300*time.Millisecond) // a request that is refused has no answer
			defer end()
			if err := js.DeleteObjectStore(brief, eventlog.BucketCheckpoints); err == nil {
				t.Error("a person deleted the bucket")
			}
			if info, err := objectInfo(ctx, w.js, name); err != nil || info.Size != kept.Bytes {
				t.Errorf("the checkpoint was touched: %v, %v", info, err)
			}
			nc.Close()
		})
	}
}

func objectInfo(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.ObjectInfo, error) {
	bucket, err := js.ObjectStore(ctx, eventlog.BucketCheckpoints)
	if err != nil {
		return nil, err
	}
	return bucket.GetInfo(ctx, name)
}

func bytesOf(t *testing.T, v *fleet.View) []byte {
	t.Helper()
	b, err := fleet.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
