package logstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// Keys of the log's metadata that tell of a restore.
const (
	metaRestoring        = "fleet-restoring"           // the archive's id, until the log is whole
	metaRestoredArchive  = "fleet-restored-archive"    // the archive's id
	metaRestoredFrom     = "fleet-restored-from"       // the id of the log that was archived
	metaRestoredSequence = "fleet-restored-sequence"   // the last one that came from the archive
	metaReconciled       = "fleet-reconciled-sequence" // the leader's fold when it had compared the log with the cluster
)

// ErrRestoring says that the log is being restored from an archive: it is not
// whole yet, so nobody may read it or append to it.
var ErrRestoring = errors.New("the log is being restored from an archive and is incomplete; if no restore is running, run fleetctl restore again")

// Restored is what a log knows of the restore that it comes from. The zero value
// is that of a log which was never restored.
type Restored struct {
	Archive  string // the archive's id
	From     string // the id of the log that was archived
	Sequence uint64 // the last one that came from the archive
	// Reconciled is how far the leader had folded the log when all that the
	// restore had left to decide was decided; 0: that is still to come, and
	// what the log says of desired state may be older than what devices run.
	Reconciled uint64
}

// Pending says whether the log's desired state may be older than what devices
// run, so that none of them must be told of it yet.
func (r Restored) Pending() bool { return r.Sequence > 0 && r.Reconciled == 0 }

func restoredOf(metadata map[string]string) Restored {
	number := func(key string) uint64 {
		n, err := strconv.ParseUint(metadata[key], 10, 64)
		if err != nil {
			return 0 // absent
		}
		return n
	}
	return Restored{
		Archive: metadata[metaRestoredArchive], From: metadata[metaRestoredFrom],
		Sequence: number(metaRestoredSequence), Reconciled: number(metaReconciled),
	}
}

func (r Restored) write(metadata map[string]string) {
	if r.Sequence == 0 {
		return
	}
	metadata[metaRestoredArchive], metadata[metaRestoredFrom] = r.Archive, r.From
	metadata[metaRestoredSequence] = strconv.FormatUint(r.Sequence, 10)
	if r.Reconciled > 0 {
		metadata[metaReconciled] = strconv.FormatUint(r.Reconciled, 10)
	}
}

// Restoring is the stream FLEET while an archive flows into it: a new log,
// with an id of its own, that nobody can append to since it listens on no subject
// of the log, and whose metadata says that it is not whole.
func Restoring(replicas int, archive string) jetstream.StreamConfig {
	c := logStream(Config{Replicas: replicas}, ulid.Make().String())
	c.Subjects = []string{eventlog.RestoringSubject}
	c.Metadata[metaRestoring] = archive
	return c
}

// RestoringArchive is the id of the archive that a stream is being restored from;
// empty where it is whole.
func RestoringArchive(c jetstream.StreamConfig) string { return c.Metadata[metaRestoring] }

// FinishRestore puts a restored log into service: from here on it is appended to.
// The caller has made sure that it is whole.
func FinishRestore(ctx context.Context, js jetstream.JetStream, r Restored) (Info, error) {
	s, err := js.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return Info{}, fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
	}
	c := s.CachedInfo().Config
	c.Subjects = []string{eventlog.LogSubjects}
	c.Metadata = maps.Clone(c.Metadata)
	delete(c.Metadata, metaRestoring)
	r.write(c.Metadata)
	if _, err := js.UpdateStream(ctx, c); err != nil {
		return Info{}, fmt.Errorf("put the restored stream %s into service: %w", eventlog.LogStream, err)
	}
	return Inspect(ctx, js)
}

// Reconcile notes that a restored log agrees with the cluster again, as far as a
// fold of it had come: devices may be told of their desired state. It does
// nothing to a log of another id, or one that has been reconciled.
func Reconcile(ctx context.Context, js jetstream.JetStream, logID string, sequence uint64) error {
	s, err := js.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
	}
	c := s.CachedInfo().Config
	if r := restoredOf(c.Metadata); c.Metadata[metaLogID] != logID || !r.Pending() {
		return nil
	}
	c.Metadata = maps.Clone(c.Metadata)
	c.Metadata[metaReconciled] = strconv.FormatUint(sequence, 10)
	if _, err := js.UpdateStream(ctx, c); err != nil {
		return fmt.Errorf("note that stream %s is reconciled: %w", eventlog.LogStream, err)
	}
	return nil
}
