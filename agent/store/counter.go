package store

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"fleet.nationtech.io/eventlog"
)

// Epoch is random and made with the store. A lost store is a new epoch.
func (s *Store) Epoch() string { return s.epoch }

// Next gives the number of the next message to the log. It is in the file before
// it is used, so no number is ever used twice.
func (s *Store) Next() (eventlog.Counter, error) {
	var n uint64
	err := s.db.Update(func(tx *bbolt.Tx) error {
		var err error
		n, err = next(tx)
		return err
	})
	if err != nil {
		return eventlog.Counter{}, fmt.Errorf("number a report: %w", err)
	}
	return eventlog.Counter{Epoch: s.epoch, N: n}, nil
}

func next(tx *bbolt.Tx) (uint64, error) {
	n, err := counterOf(tx)
	if err != nil {
		return 0, err
	}
	n++
	return n, tx.Bucket(bucketMeta).Put(keyCounter, binary.BigEndian.AppendUint64(nil, n))
}

func counterOf(tx *bbolt.Tx) (uint64, error) {
	v := tx.Bucket(bucketMeta).Get(keyCounter)
	switch len(v) {
	case 0:
		return 0, nil
	case 8:
		return binary.BigEndian.Uint64(v), nil
	}
	return 0, fmt.Errorf("the counter has %d bytes instead of 8", len(v))
}
