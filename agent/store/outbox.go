package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"fleet.nationtech.io/eventlog"
)

// MaxOutbox is how many events of the journal wait at most for a network. Then
// the oldest go: a device that is offline for a year must not fill its disk.
const MaxOutbox = 10_000

// Record is an event of the journal that the log has not acknowledged. Its id is
// made once and kept for its retries; its number is given with the first one.
type Record struct {
	order uint64

	ID   string          `json:"id"`
	N    uint64          `json:"n,omitempty"`
	Type eventlog.Type   `json:"type"`
	Time time.Time       `json:"time"`
	Data json.RawMessage `json:"data"`
	// Traceparent is the trace that it belongs to; empty: none.
	Traceparent string `json:"traceparent,omitempty"`
}

// Enqueue adds an event to the outbox and says how many old ones had to go. The id of the
// record is made here.
func (s *Store) Enqueue(r Record) (dropped int, err error) {
	r.ID, r.N = s.options.NewID(), 0
	err = s.db.Update(func(tx *bbolt.Tx) error {
		dropped = 0
		b := tx.Bucket(bucketOutbox)
		order, err := b.NextSequence()
		if err != nil {
			return err
		}
		c := b.Cursor()
		for k, _ := c.First(); k != nil && order-binary.BigEndian.Uint64(k) >= MaxOutbox; k, _ = c.First() {
			if err := c.Delete(); err != nil {
				return err
			}
			dropped++
		}
		return putJSON(b, binary.BigEndian.AppendUint64(nil, order), r)
	})
	if err != nil {
		return 0, fmt.Errorf("keep %s for the log: %w", r.Type, err)
	}
	return dropped, nil
}

// Head gives the oldest event of the outbox, with a number; ok is false when
// there is none. The number is in the file before Head returns.
func (s *Store) Head() (r Record, c eventlog.Counter, ok bool, err error) {
	empty := false
	if err := s.db.View(func(tx *bbolt.Tx) error {
		k, _ := tx.Bucket(bucketOutbox).Cursor().First()
		empty = k == nil
		return nil
	}); err != nil || empty {
		return r, c, false, err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketOutbox)
		k, v := b.Cursor().First()
		if ok = k != nil; !ok {
			return nil
		}
		r = Record{}
		if err := json.Unmarshal(v, &r); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		r.order = binary.BigEndian.Uint64(k)
		if r.N > 0 {
			return nil
		}
		if r.N, err = next(tx); err != nil {
			return err
		}
		return putJSON(b, binary.BigEndian.AppendUint64(nil, r.order), r)
	})
	if err != nil {
		return r, c, false, fmt.Errorf("read the outbox: %w", err)
	}
	return r, eventlog.Counter{Epoch: s.epoch, N: r.N}, ok, nil
}

// Waiting is how many events the outbox has: the newest is appended last, and the oldest is sent first.
func (s *Store) Waiting() (n int, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketOutbox).Cursor()
		first, _ := c.First()
		if first == nil {
			return nil
		}
		last, _ := c.Last()
		n = int(binary.BigEndian.Uint64(last) - binary.BigEndian.Uint64(first) + 1)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("count the outbox: %w", err)
	}
	return n, nil
}

// Done takes an event out of the outbox: the log has it.
func (s *Store) Done(r Record) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketOutbox).Delete(binary.BigEndian.AppendUint64(nil, r.order))
	})
	if err != nil {
		return fmt.Errorf("take %s out of the outbox: %w", r.Type, err)
	}
	return nil
}

func outboxReadable(tx *bbolt.Tx) error {
	return tx.Bucket(bucketOutbox).ForEach(func(k, v []byte) error {
		var r Record
		if len(k) != 8 {
			return fmt.Errorf("outbox: key of %d bytes", len(k))
		}
		if err := json.Unmarshal(v, &r); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
		return nil
	})
}
