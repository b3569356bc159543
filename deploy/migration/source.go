package migration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/secretfile"
	"fleet.nationtech.io/eventlog"
)

// Errors of a source.
var (
	// ErrNoBucket says that the source has none of the four buckets, or not all of them.
	ErrNoBucket = errors.New("the source has no such bucket")
	// ErrNotOriginal says that a bucket is kept from a log: the source is no fleet of
	// the original design.
	ErrNotOriginal = errors.New("the bucket is kept from an event log already")
	// ErrSilent says that the source stopped answering.
	ErrSilent = errors.New("the source stopped answering")
	// ErrNotSaved says that a file is none that Save wrote, or not the whole of it.
	ErrNotSaved = errors.New("not a file of saved buckets")
)

// silence is how long the source may take for the next entry.
const silence = 30 * time.Second

// plain says whether a bucket's stream is one of the original design: clients write it.
func plain(c jetstream.StreamConfig) bool { return len(c.Subjects) > 0 && len(c.Sources) == 0 }

// Read reads the four buckets of a fleet of the original design. It changes nothing
// there. A bucket of what devices say may be missing; the desired state may not.
//
// Errors: ErrNoBucket, ErrNotOriginal, ErrSilent; the server's.
func Read(ctx context.Context, js jetstream.JetStream, now time.Time, progress func(done, total uint64)) (Source, error) {
	out := Source{Read: now.UTC()}
	origin := sha256.New()
	for _, b := range eventlog.Buckets() {
		s, err := js.Stream(ctx, eventlog.BucketStream(b))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			if b == eventlog.BucketDesired || b == eventlog.BucketInfo {
				return out, fmt.Errorf("bucket %s: %w", b, ErrNoBucket)
			}
			continue
		}
		if err != nil {
			return out, fmt.Errorf("bucket %s: %w", b, err)
		}
		info := s.CachedInfo()
		if !plain(info.Config) {
			return out, fmt.Errorf("bucket %s: %w", b, ErrNotOriginal)
		}
		fmt.Fprintf(origin, "%s %d\n", b, info.Created.UnixNano())
		if out.Entries, err = readBucket(ctx, js, b, out.Entries, progress); err != nil {
			return out, fmt.Errorf("bucket %s: %w", b, err)
		}
	}
	out.Origin = hex.EncodeToString(origin.Sum(nil)[:6])
	return out, nil
}

// readBucket appends the newest entry of each key of a bucket, delete markers too.
func readBucket(ctx context.Context, js jetstream.JetStream, bucket string, entries []Entry, progress func(done, total uint64)) ([]Entry, error) {
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Stop() }() // it ends with the context all the same
	idle := time.NewTimer(silence)
	defer idle.Stop()
	for n := uint64(0); ; n++ {
		idle.Reset(silence)
		select {
		case e, open := <-w.Updates():
			switch {
			case !open:
				return nil, fmt.Errorf("%w after %d entries", ErrSilent, n)
			case e == nil:
				return entries, nil // all that there was
			}
			entries = append(entries, Entry{
				Bucket: bucket, Key: e.Key(), Revision: e.Revision(), Created: e.Created().UTC(),
				Deleted: e.Operation() != jetstream.KeyValuePut, Value: e.Value(),
			})
			if progress != nil {
				progress(n+1, n+1+e.Delta())
			}
		case <-idle.C:
			return nil, fmt.Errorf("%w after %d entries", ErrSilent, n)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// saved is the form of a file of saved buckets.
type saved struct {
	Format int `json:"fleet_buckets"`
	Source
}

const savedFormat = 1

// Save writes what was read into a file that only its owner reads.
func Save(file string, s Source) error {
	b, err := json.Marshal(saved{savedFormat, s})
	if err != nil {
		return fmt.Errorf("encode the buckets: %w", err)
	}
	return secretfile.Write(file, b)
}

// Load reads what Save wrote. It fails with ErrNotSaved.
func Load(file string) (Source, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Source{}, err
	}
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return Source{}, fmt.Errorf("%s: %w: %w", file, ErrNotSaved, err)
	}
	if s.Format != savedFormat || s.Origin == "" {
		return Source{}, fmt.Errorf("%s: %w", file, ErrNotSaved)
	}
	return s.Source, nil
}

// contents reads the buckets of the target as they are now: by bucket and key, nil for
// a delete marker.
func contents(ctx context.Context, js jetstream.JetStream, bucket string) (map[string][]byte, error) {
	entries, err := readBucket(ctx, js, bucket, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	out := make(map[string][]byte, len(entries))
	for _, e := range entries {
		out[e.Key] = e.Value
		if e.Deleted {
			out[e.Key] = nil
		}
	}
	return out, nil
}
