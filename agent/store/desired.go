package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// Desired is what the log last said of one Deployment on this device.
type Desired struct {
	Deployment string `json:"deployment"`
	Namespace  string `json:"namespace,omitempty"`
	Revision   uint64 `json:"revision,omitempty"`
	Sequence   uint64 `json:"sequence"` // of the log
	// Value is the score's bytes as they stand in the log; none where Withdrawn.
	Value []byte `json:"value,omitempty"`
	// Traceparent is the trace of the change that gave it; empty: it is not traced.
	Traceparent string `json:"traceparent,omitempty"`
	// Withdrawn is an explicit delete marker. Absence is never one.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// Position is how far of which log the device knows.
type Position struct {
	LogID    string `json:"log_id"`
	Sequence uint64 `json:"sequence"`
}

// Desired gives all that is remembered, in the order of the names. It is right
// even while the file cannot be written.
func (s *Store) Desired() []Desired {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.desired), func(a, b Desired) int { return strings.Compare(a.Deployment, b.Deployment) })
}

// Assigned gives what the log last said of a Deployment; ok is false where it said nothing.
func (s *Store) Assigned(deployment string) (d Desired, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok = s.desired[deployment]
	return d, ok
}

// Position gives the position of the last Apply.
func (s *Store) Position() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position
}

// Apply remembers changes and the position that they were learned at, together
// or not at all in the file. When the file cannot be written it fails, but the
// memory has the changes, and the next Apply writes all of it.
func (s *Store) Apply(changes []Desired, p Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range changes {
		s.desired[d.Deployment] = d
	}
	if len(changes) == 0 && p == s.position && !s.unsaved {
		return nil
	}
	s.position = p
	if s.unsaved {
		changes = slices.Collect(maps.Values(s.desired))
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketDesired)
		for _, d := range changes {
			if err := putJSON(bucket, []byte(d.Deployment), d); err != nil {
				return err
			}
		}
		return putJSON(tx.Bucket(bucketMeta), keyPosition, p)
	})
	s.unsaved = err != nil
	if err != nil {
		return fmt.Errorf("remember the desired state: %w", err)
	}
	return nil
}

func (s *Store) readDesired(tx *bbolt.Tx) error {
	if v := tx.Bucket(bucketMeta).Get(keyPosition); v != nil {
		if err := json.Unmarshal(v, &s.position); err != nil {
			return fmt.Errorf("position: %w", err)
		}
	}
	return tx.Bucket(bucketDesired).ForEach(func(k, v []byte) error {
		var d Desired
		if err := json.Unmarshal(v, &d); err != nil {
			return fmt.Errorf("desired %q: %w", k, err)
		}
		if d.Deployment != string(k) {
			return fmt.Errorf("desired %q speaks of %q", k, d.Deployment)
		}
		s.desired[d.Deployment] = d
		return nil
	})
}

func putJSON(b *bbolt.Bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, text)
}
