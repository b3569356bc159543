package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// Save keeps the fold of a log, and makes the bucket where there is none. The
// view is read, and its owner must leave it alone meanwhile. An empty view is
// not kept: it is had for nothing.
func (s Store) Save(ctx context.Context, logID string, v *fleet.View) (Entry, error) {
	if logID == "" || v.Sequence == 0 {
		return Entry{}, fmt.Errorf("save a checkpoint of log %q at sequence %d: nothing to begin from", logID, v.Sequence)
	}
	content, err := encode(logID, v)
	if err != nil {
		return Entry{}, err
	}
	kept := Entry{Sequence: v.Sequence, Bytes: uint64(len(content))}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout(kept.Bytes))
	defer cancel()
	bucket, err := s.JS.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket:      eventlog.BucketCheckpoints,
		Description: "Folds of the log, to begin from. A cache: the log can rebuild all of it.",
		Storage:     jetstream.FileStorage,
		Replicas:    max(1, s.Replicas),
	})
	if err != nil {
		return Entry{}, fmt.Errorf("bucket %s: %w", eventlog.BucketCheckpoints, err)
	}
	p := Key{Fold: fleet.FoldVersion, LogID: logID, Sequence: v.Sequence}
	if _, err := bucket.PutBytes(ctx, p.Name(), content); err != nil {
		return Entry{}, fmt.Errorf("bucket %s: %s: %w", eventlog.BucketCheckpoints, p.Name(), err)
	}
	return kept, nil
}

// Newest gives what is kept last of a log up to a sequence; the zero Kept where
// nothing is. Whether it can be used is not looked at.
func (s Store) Newest(ctx context.Context, logID string, atMost uint64) (Entry, error) {
	places, err := s.List(ctx)
	if err != nil {
		return Entry{}, err
	}
	newest := Key{}
	for _, p := range places {
		if p.ours(logID) && p.Sequence <= atMost {
			newest = p
		}
	}
	if newest.Sequence == 0 {
		return Entry{}, nil
	}
	bucket, err := s.JS.ObjectStore(ctx, eventlog.BucketCheckpoints)
	if err != nil {
		return Entry{}, fmt.Errorf("bucket %s: %w", eventlog.BucketCheckpoints, err)
	}
	info, err := bucket.GetInfo(ctx, newest.Name())
	if errors.Is(err, jetstream.ErrObjectNotFound) || errors.Is(err, jetstream.ErrBadObjectMeta) {
		return Entry{}, nil
	}
	if err != nil {
		return Entry{}, fmt.Errorf("bucket %s: %s: %w", eventlog.BucketCheckpoints, newest.Name(), err)
	}
	return Entry{Sequence: newest.Sequence, Bytes: info.Size}, nil
}

// Prune drops what nobody will begin from, for a log that is at a sequence: the
// folds of other logs, of other versions and of a tail that this one lost, and
// of the others those that Thin names. So it does with content that no object
// has, as a save that was cut short leaves behind. It is for who saves, and for
// one at a time.
func (s Store) Prune(ctx context.Context, logID string, last uint64) error {
	places, err := s.List(ctx)
	if err != nil {
		return err
	}
	var drop []Key
	var sequences []uint64
	for _, p := range places {
		if p.ours(logID) && p.Sequence <= last {
			sequences = append(sequences, p.Sequence)
		} else {
			drop = append(drop, p)
		}
	}
	for _, seq := range Thin(sequences, Most) {
		drop = append(drop, Key{Fold: fleet.FoldVersion, LogID: logID, Sequence: seq})
	}
	var errs []error
	for _, p := range drop {
		errs = append(errs, s.purge(ctx, eventlog.ObjectMetaSubject(eventlog.BucketCheckpoints, p.Name())))
	}
	errs = append(errs, s.sweep(ctx))
	return errors.Join(errs...)
}

// sweep drops the content that no object has. It asks the stream's leader: a
// replica that is behind does not know yet what has just been saved.
func (s Store) sweep(ctx context.Context) error {
	const bucket = eventlog.BucketCheckpoints
	chunks, err := s.subjects(ctx, eventlog.ObjectChunkSubject(bucket, eventlog.Wildcard))
	if err != nil || len(chunks) == 0 {
		return err
	}
	metas, err := s.subjects(ctx, eventlog.ObjectMetaSubjects(bucket))
	if err != nil {
		return err
	}
	stream, err := reader.Authoritative(ctx, s.JS, eventlog.ObjectStream(bucket))
	if err != nil {
		return err
	}
	for subject := range metas {
		m, err := stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("bucket %s: %s: %w", bucket, subject, err)
		}
		var info jetstream.ObjectInfo
		if json.Unmarshal(m.Data, &info) == nil { // else it is no object, and has no content
			delete(chunks, eventlog.ObjectChunkSubject(bucket, info.NUID))
		}
	}
	var errs []error
	for subject := range chunks {
		errs = append(errs, s.purge(ctx, subject))
	}
	return errors.Join(errs...)
}

// purge takes a subject's messages out of the bucket. Unlike the object store's
// own Delete it leaves no marker behind, which would stay for ever.
func (s Store) purge(ctx context.Context, subject string) error {
	stream, err := s.JS.Stream(ctx, eventlog.ObjectStream(eventlog.BucketCheckpoints))
	if err != nil {
		return fmt.Errorf("bucket %s: %w", eventlog.BucketCheckpoints, err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
		return fmt.Errorf("bucket %s: purge %s: %w", eventlog.BucketCheckpoints, subject, err)
	}
	return nil
}
