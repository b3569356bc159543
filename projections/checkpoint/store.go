// Package checkpoint keeps folds of the log in an object-store bucket, so that a
// moment of the past, or an operator's start, costs what happened since, and not
// since the beginning.
//
// A checkpoint is a cache. One that is missing, damaged, of another version of
// the fold, of another log or of a tail that the log lost costs time, never
// truth: it is passed over for an older one, and in the end for the beginning.
package checkpoint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// Key says of what a checkpoint is the fold.
type Key struct {
	Fold     uint64 // fleet.FoldVersion
	LogID    string
	Sequence uint64
}

// Name is the object's name in the bucket.
func (p Key) Name() string { return eventlog.CheckpointName(p.Fold, p.LogID, p.Sequence) }

// ours says whether this program can use what is there, for a log.
func (p Key) ours(logID string) bool {
	return p.Fold == fleet.FoldVersion && p.LogID == logID && p.Sequence > 0
}

// Store is the bucket of checkpoints. Reading it takes no more than reading the
// log does.
type Store struct {
	JS       jetstream.JetStream
	Replicas int // of the bucket, when it is written; 0 means 1
	// Skipped is told of a checkpoint that is not used, and why. It may be nil.
	Skipped func(checkpoint string, why error)
}

// Nearest gives the fold that comes nearest to a sequence of a log without
// passing it; nil where there is none to be had, and then one begins with the
// empty view. It never fails: what cannot be used is passed over.
func (s Store) Nearest(ctx context.Context, logID string, atMost uint64) *fleet.View {
	if logID == "" || atMost == 0 {
		return nil
	}
	places, err := s.List(ctx)
	if err != nil {
		s.skip(eventlog.BucketCheckpoints, err)
		return nil
	}
	for _, p := range slices.Backward(places) {
		if !p.ours(logID) || p.Sequence > atMost {
			continue
		}
		v, err := s.load(ctx, p)
		if err == nil {
			return v
		}
		s.skip(p.Name(), err)
		if ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

func (s Store) skip(checkpoint string, why error) {
	if s.Skipped != nil {
		s.Skipped(checkpoint, why)
	}
}

// load gives the view of one checkpoint, if the log still has at its sequence
// the message that it had then.
func (s Store) load(ctx context.Context, p Key) (*fleet.View, error) {
	m, err := reader.MessageAt(ctx, s.JS, eventlog.LogStream, p.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%w: the log has no sequence %d", ErrUnusable, p.Sequence)
	}
	if err != nil {
		return nil, err
	}
	content, err := s.read(ctx, p)
	if err != nil {
		return nil, err
	}
	v, err := decode(content, p)
	if err != nil {
		return nil, err
	}
	if !v.Recorded.Equal(m.Time) {
		return nil, fmt.Errorf("%w: sequence %d of the log is another message", ErrUnusable, p.Sequence)
	}
	return v, nil
}

// List gives what is kept, of any log and version, by sequence. Without a bucket
// there is none.
//
// The names are asked of the stream, not of the object store's own list, which
// would wait in vain where a message in the bucket is none of an object's.
func (s Store) List(ctx context.Context) ([]Key, error) {
	bucket := eventlog.BucketCheckpoints
	subjects, err := s.subjects(ctx, eventlog.ObjectMetaSubjects(bucket))
	if err != nil {
		return nil, err
	}
	places := make([]Key, 0, len(subjects))
	for subject := range subjects {
		name, ok := eventlog.ObjectOfMeta(bucket, subject)
		if !ok {
			continue
		}
		if p, ok := placeOf(name); ok {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Name(), b.Name()))
	})
	return places, nil
}

func placeOf(name string) (p Key, ok bool) {
	p.Fold, p.LogID, p.Sequence, ok = eventlog.ParseCheckpointName(name)
	return p, ok
}

// subjects counts the messages of the bucket's stream by subject; none without a
// bucket.
func (s Store) subjects(ctx context.Context, filter string) (map[string]uint64, error) {
	stream, err := s.JS.Stream(ctx, eventlog.ObjectStream(eventlog.BucketCheckpoints))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", eventlog.BucketCheckpoints, err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", eventlog.BucketCheckpoints, err)
	}
	return info.State.Subjects, nil
}

// read gives the bytes of one checkpoint. The object store's own way needs a consumer,
// which account PEOPLE has not, and waits for parts that are not there.
func (s Store) read(ctx context.Context, p Key) ([]byte, error) {
	const bucket = eventlog.BucketCheckpoints
	stream := eventlog.ObjectStream(bucket)
	m, err := reader.LastMessage(ctx, s.JS, stream, eventlog.ObjectMetaSubject(bucket, p.Name()))
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	var info jetstream.ObjectInfo
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return nil, fmt.Errorf("%w: what the bucket says of it cannot be read: %w", ErrUnusable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout(info.Size))
	defer cancel()
	var content bytes.Buffer
	parts := uint32(0)
	for m, err := range reader.StoredOn(ctx, s.JS, stream, eventlog.ObjectChunkSubject(bucket, info.NUID), 0) {
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", bucket, err)
		}
		content.Write(m.Data)
		parts++
	}
	if parts == 0 || parts != info.Chunks {
		return nil, fmt.Errorf("%w: %d of its %d parts are there", ErrUnusable, parts, info.Chunks)
	}
	return content.Bytes(), nil
}

// transferTimeout is how long the bucket is waited for: the client would give up a
// large checkpoint too soon, and a broken one never.
func transferTimeout(size uint64) time.Duration {
	const least, pace = 10 * time.Second, 1 << 20 // bytes a second
	return least + time.Duration(min(size/pace, 600))*time.Second
}
