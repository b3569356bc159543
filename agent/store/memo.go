package store

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
)

// Remember keeps a small thing under a name; a nil value forgets it.
func (s *Store) Remember(name string, value []byte) error {
	old, err := s.Recall(name)
	if err == nil && bytes.Equal(old, value) && (old == nil) == (value == nil) {
		return nil // nothing to write, and a write wears the card
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMemo)
		if value == nil {
			return b.Delete([]byte(name))
		}
		return b.Put([]byte(name), value)
	})
	if err != nil {
		return fmt.Errorf("remember %s: %w", name, err)
	}
	return nil
}

// RecallAll gives all that was kept under names that begin so.
func (s *Store) RecallAll(prefix string) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketMemo).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			all[string(k)] = bytes.Clone(v)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recall %s…: %w", prefix, err)
	}
	return all, nil
}

// Recall gives what was kept under a name, nil where nothing was.
func (s *Store) Recall(name string) ([]byte, error) {
	var value []byte
	err := s.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucketMemo).Get([]byte(name)); v != nil {
			value = bytes.Clone(v)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recall %s: %w", name, err)
	}
	return value, nil
}
