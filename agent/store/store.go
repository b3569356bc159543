// Package store is what the agent remembers over a restart, in one small bbolt
// file: what it should run, how far of which log that was, the number of its
// last report, and the journal that the log has not taken yet.
//
// Guarantee: a reboot without a network finds the last desired set here. A file
// that cannot be trusted is set aside, never repaired by guessing: the log tells
// the agent again, and containers go on running meanwhile.
package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrInUse says that another process holds the store.
var ErrInUse = errors.New("another agent uses this data directory")

// errDamaged says that the file is there and is not to be trusted.
var errDamaged = errors.New("the store is damaged")

// lockTimeout is how long a process that just ends may keep the file.
const lockTimeout = 2 * time.Second

// version is of the file's layout. A file of another one is set aside.
const version = "1"

// The file's buckets and the keys of the first.
var (
	bucketMeta    = []byte("meta")
	bucketDesired = []byte("desired") // Deployment's name → Desired
	bucketOutbox  = []byte("outbox")  // order, big endian → Record
	bucketMemo    = []byte("memo")    // name → bytes

	keyVersion  = []byte("version")
	keyEpoch    = []byte("epoch")
	keyCounter  = []byte("counter")
	keyPosition = []byte("position")
)

// Options wire a Store. The zero value of each field is usable.
type Options struct {
	Logger *slog.Logger
	// NewID makes the store's epoch and the ids of what the outbox holds: ULIDs,
	// which nobody can guess and burn beforehand.
	NewID func() string
	Now   func() time.Time
}

// Store is an open store. Its methods may be used from several goroutines.
type Store struct {
	db      *bbolt.DB
	options Options
	epoch   string

	mu       sync.Mutex
	desired  map[string]Desired
	position Position
	unsaved  bool // the memory is ahead of the file
}

// Open opens the store of a data directory's file, and makes both if they are
// not there. A damaged file is renamed and a new one made, with a clear log
// line. It fails with ErrInUse, or where the directory cannot be written.
func Open(path string, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.NewID == nil {
		o.NewID = func() string { return ulid.Make().String() }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	s, err := open(path, o)
	if !errors.Is(err, errDamaged) {
		return s, err
	}
	aside := path + ".damaged-" + strconv.FormatInt(o.Now().UnixMilli(), 10)
	if err := os.Rename(path, aside); err != nil {
		return nil, fmt.Errorf("set the damaged store aside: %w", err)
	}
	o.Logger.Error("the store was damaged: the agent set it aside and created a new one; the next sync fills it",
		"file", path, "aside", aside, "error", err)
	return open(path, o)
}

// Close writes nothing; what was told to the store is in the file already.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}

// open opens the file and walks over all of it once. It is small, and bbolt
// panics or faults on a page that is not as it should be, at whatever later
// moment it wants that page.
func open(path string, o Options) (s *Store, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	switch {
	case err == nil:
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: %w", path, ErrInUse)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	default:
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s = &Store{db: db, options: o, desired: map[string]Desired{}}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *Store) load() error {
	fresh := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		if err := check(tx); err != nil {
			return err
		}
		if fresh = tx.Bucket(bucketMeta) == nil; fresh {
			return nil
		}
		return s.read(tx)
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if fresh {
		if err := s.db.Update(s.fill); err != nil {
			return fmt.Errorf("make the store: %w", err)
		}
		return nil
	}
	// A write shows that the list of free pages is sound as well. That the disk
	// is full must not keep the containers from being restored.
	if err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyVersion, []byte(version)) }); err != nil {
		s.options.Logger.Error("cannot write the store", "file", s.db.Path(), "error", err)
	}
	return nil
}

// check reads every page, key and value, on this goroutine: bbolt's own check
// runs on another one, whose fault nobody could recover from.
func check(tx *bbolt.Tx) error {
	var sum byte
	return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return fmt.Errorf("bucket %q holds a bucket %q", name, k)
			}
			for _, c := range v {
				sum ^= c
			}
			return nil
		})
	})
}

func (s *Store) fill(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketDesired, bucketOutbox, bucketMemo} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	s.epoch = s.options.NewID()
	meta := tx.Bucket(bucketMeta)
	if err := meta.Put(keyEpoch, []byte(s.epoch)); err != nil {
		return err
	}
	return meta.Put(keyVersion, []byte(version))
}

func (s *Store) read(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketDesired, bucketOutbox, bucketMemo} {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("bucket %q is missing", name)
		}
	}
	meta := tx.Bucket(bucketMeta)
	if v := meta.Get(keyVersion); string(v) != version {
		return fmt.Errorf("its layout is version %q, this agent knows %q", v, version)
	}
	if s.epoch = string(meta.Get(keyEpoch)); s.epoch == "" {
		return errors.New("it has no epoch")
	}
	if _, err := counterOf(tx); err != nil {
		return err
	}
	if err := outboxReadable(tx); err != nil {
		return err
	}
	return s.readDesired(tx)
}
