// Package logstream makes the streams FLEET and PULSE, and says what they are: the
// log's id, its size and its reserve, and the restore that it comes from.
package logstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// MaxMessageBytes bounds one event, headers included.
const MaxMessageBytes = 256 << 10

// MaxReportBytes bounds what a device may send at once, headers included. A server
// adds a line to the header of what a bucket sources, keeps no header over 64 KiB,
// and tries what it cannot keep for ever (nats-server, stream.go,
// processInboundSourceMsg): so a header of that size must not come into the log.
const MaxReportBytes = 60 << 10

// reserve is the share of the log's size that is kept back: it opens once those
// who filled the log are cut off.
const reservePercent = 10

// metaLogID is the key of the log's id in its stream's metadata.
const metaLogID = "fleet-log-id"

// metaLogSize is the key of how large the log may become once its reserve is open.
const metaLogSize = "fleet-log-max-bytes"

// Config says how large the log may be and how often it is kept.
type Config struct {
	Replicas int   // 1 for development, 3 in production; 0 means 1
	MaxBytes int64 // 0: no limit. The stream is made 10 % smaller, see OpenReserve
}

// Info is what a stream says of itself.
type Info struct {
	ID       string // random; renewed when a log is restored from an archive
	Replicas int
	First    uint64
	Last     uint64
	Bytes    uint64
	MaxBytes int64 // 0: no limit
	// Size is what MaxBytes is once the reserve is open; 0 where that is not known, as of a
	// log that an older operator configured.
	Size     int64
	Restored Restored
}

func (c Config) replicas() int { return max(1, c.Replicas) }

// Ensure makes the stream FLEET, or brings an existing one to the
// configuration, and keeps its log id, and its reserve open where it is. It fails
// with the server's error.
func Ensure(ctx context.Context, js jetstream.JetStream, c Config) (Info, error) {
	info, err := Inspect(ctx, js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, logStream(c, ulid.Make().String()))
		if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return Info{}, fmt.Errorf("make stream %s: %w", eventlog.LogStream, err)
		}
		return Inspect(ctx, js) // where another was faster, the log is theirs, and its id
	}
	if err != nil {
		return Info{}, err
	}
	if info.ID == "" { // made by other hands
		info.ID = ulid.Make().String()
	}
	cfg := logStream(c, info.ID)
	info.Restored.write(cfg.Metadata)
	if c.MaxBytes > 0 && info.MaxBytes == c.MaxBytes {
		cfg.MaxBytes = c.MaxBytes // OpenReserve was here
	}
	s, err := js.Stream(ctx, eventlog.LogStream)
	if err == nil && configured(s.CachedInfo().Config, cfg) {
		return info, nil // what is not written cannot undo what somebody else writes
	}
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		return Info{}, fmt.Errorf("ensure stream %s: %w", eventlog.LogStream, err)
	}
	return Inspect(ctx, js)
}

// configured says whether a stream has all that is wanted of it, and none of what other
// hands gave it and an update takes away. The server adds defaults and metadata of its own.
func configured(have, want jetstream.StreamConfig) bool {
	if have.MaxAge > 0 || have.MaxMsgs > 0 || have.MaxMsgsPerSubject > 0 || len(have.Sources) > 0 ||
		have.SubjectTransform != nil || have.RePublish != nil || have.NoAck {
		return false
	}
	for k, v := range want.Metadata {
		if have.Metadata[k] != v {
			return false
		}
	}
	return have.Description == want.Description && slices.Equal(have.Subjects, want.Subjects) && have.Storage == want.Storage &&
		have.Compression == want.Compression && have.Retention == want.Retention && have.Discard == want.Discard &&
		have.MaxBytes == want.MaxBytes && have.MaxMsgSize == want.MaxMsgSize && have.Replicas == want.Replicas &&
		have.Duplicates == want.Duplicates && have.DenyDelete == want.DenyDelete && have.DenyPurge == want.DenyPurge &&
		have.AllowDirect == want.AllowDirect && have.AllowAtomicPublish == want.AllowAtomicPublish
}

// compression is S2 where one server keeps the log, and none where several do. A server
// of a cluster that is told to sync each write (sync_interval: always) cuts the end of
// its copy off at each start, and may compress the block that it goes on writing to: what
// it wrote there it can read no more, and once it was killed it loses its whole copy
// (nats-server 2.15.2, fileStore.Truncate beside recompressOnDiskIfNeeded).
func (c Config) compression() jetstream.StoreCompression {
	if c.replicas() > 1 {
		return jetstream.NoCompression
	}
	return jetstream.S2Compression
}

func logStream(c Config, id string) jetstream.StreamConfig {
	limit, metadata := int64(-1), map[string]string{metaLogID: id}
	if c.MaxBytes > 0 {
		limit = c.MaxBytes / 100 * (100 - reservePercent)
		metadata[metaLogSize] = strconv.FormatInt(c.MaxBytes, 10)
	}
	return jetstream.StreamConfig{
		Name:               eventlog.LogStream,
		Description:        "The fleet's event log: the one truth, appended to and never changed.",
		Subjects:           []string{eventlog.LogSubjects},
		Storage:            jetstream.FileStorage,
		Compression:        c.compression(),
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		MaxBytes:           limit,
		MaxMsgSize:         MaxMessageBytes,
		Replicas:           c.replicas(),
		Duplicates:         2 * time.Minute,
		DenyDelete:         true,
		DenyPurge:          true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		Metadata:           metadata,
	}
}

// OpenReserve lets the log grow into the last tenth of its size.
func OpenReserve(ctx context.Context, js jetstream.JetStream, c Config) error {
	info, err := Inspect(ctx, js)
	if err != nil {
		return err
	}
	cfg := logStream(c, info.ID)
	info.Restored.write(cfg.Metadata)
	if c.MaxBytes > 0 {
		cfg.MaxBytes = c.MaxBytes
	}
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("open the reserve of stream %s: %w", eventlog.LogStream, err)
	}
	return nil
}

// IDOf is the id of the log that a stream is, or that a bucket's stream
// projects; empty where other hands made it.
func IDOf(c jetstream.StreamConfig) string { return c.Metadata[metaLogID] }

// Inspect asks the stream FLEET about itself. Without one it fails with
// jetstream.ErrStreamNotFound, and with ErrRestoring while one is being restored.
func Inspect(ctx context.Context, js jetstream.JetStream) (Info, error) {
	s, err := js.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return Info{}, fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
	}
	i := s.CachedInfo()
	if RestoringArchive(i.Config) != "" {
		return Info{}, fmt.Errorf("stream %s: %w", eventlog.LogStream, ErrRestoring)
	}
	size, err := strconv.ParseInt(i.Config.Metadata[metaLogSize], 10, 64)
	if err != nil || i.Config.MaxBytes <= 0 || size < i.Config.MaxBytes {
		size = 0
	}
	return Info{
		ID: i.Config.Metadata[metaLogID], Replicas: i.Config.Replicas,
		First: i.State.FirstSeq, Last: i.State.LastSeq, Bytes: i.State.Bytes, MaxBytes: max(0, i.Config.MaxBytes), Size: size,
		Restored: restoredOf(i.Config.Metadata),
	}, nil
}

// EnsurePulse makes the stream PULSE: in memory, the last message of each
// device. One replica is gone when its server restarts, so it is ensured again
// at each reconnect.
func EnsurePulse(ctx context.Context, js jetstream.JetStream, replicas int) error {
	_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              eventlog.PulseStream,
		Description:       "The last pulse of each device. Not history: only the turns between online and offline are events.",
		Subjects:          []string{eventlog.PulseSubjects},
		Storage:           jetstream.MemoryStorage,
		Retention:         jetstream.LimitsPolicy,
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        4 << 10,
		Replicas:          max(1, replicas),
		AllowDirect:       true,
	})
	if err != nil {
		return fmt.Errorf("ensure stream %s: %w", eventlog.PulseStream, err)
	}
	return nil
}
