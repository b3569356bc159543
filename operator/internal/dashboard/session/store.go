// Package session keeps the sessions of persons at the dashboard in JetStream, in memory, so
// that they hold on each replica and over an operator's restart.
package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// MaxLife is how long a session holds at most.
const MaxLife = 8 * time.Hour

const (
	maxBytes    = 16 << 20 // of all sessions: some 3,000
	perPerson   = 20       // sessions of one person: another one replaces the oldest
	maxSession  = 16 << 10 // bytes of one, sealed
	storeTime   = 5 * time.Second
	description = "sessions of persons at the dashboard, sealed by their cookies"
)

// ErrNone says that there is no such session, or not any more.
var ErrNone = errors.New("there is no such session")

// Session is what the dashboard knows of a person who signed in.
type Session struct {
	Token   string    `json:"token"`   // the access token
	Subject string    `json:"subject"` // whose it is, by the identity provider
	Name    string    `json:"name"`    // readable
	Expires time.Time `json:"expires"`
}

// Store keeps sessions.
type Store struct {
	js       jetstream.JetStream
	replicas int
	now      func() time.Time

	found atomic.Pointer[jetstream.Stream] // asked for once
}

// New wires a store: of so many replicas, as the other streams.
func New(js jetstream.JetStream, replicas int, now func() time.Time) *Store {
	return &Store{js: js, replicas: replicas, now: now}
}

// config is that of a key-value bucket, but that only its leader is asked: a session is there
// for each replica of the operator as soon as it is stored, and for none once it is deleted.
func (s *Store) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: eventlog.BucketStream(eventlog.BucketSessions), Description: description,
		Subjects: []string{eventlog.KVSubject(eventlog.BucketSessions, ">")},
		Storage:  jetstream.MemoryStorage, Replicas: s.replicas, Discard: jetstream.DiscardNew,
		MaxMsgsPerSubject: 1, MaxAge: MaxLife, AllowMsgTTL: true, MaxBytes: maxBytes, MaxMsgSize: maxSession,
		DenyDelete: true, AllowRollup: true, Duplicates: 2 * time.Minute,
	}
}

// Ensure makes the bucket where it is not there. A server that ran alone loses it when it
// restarts.
func (s *Store) Ensure(ctx context.Context) error {
	if _, err := s.js.CreateOrUpdateStream(ctx, s.config()); err != nil {
		return fmt.Errorf("bucket %s: %w", eventlog.BucketSessions, err)
	}
	return nil
}

// Put keeps a session under its secret.
func (s *Store) Put(ctx context.Context, secret string, content Session) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	sealed, err := seal(secret, content)
	if err != nil {
		return err
	}
	if err := s.Ensure(ctx); err != nil {
		return err
	}
	stream, err := s.stream(ctx)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject("*", content.Subject)), jetstream.WithPurgeKeep(perPerson-1))
	}
	if err == nil {
		// NATS takes a message away with its time, in whole seconds; Get looks at the exact one.
		life := max(content.Expires.Sub(s.now()), 0).Truncate(time.Second) + time.Second
		_, err = s.js.Publish(ctx, subject(ID(secret), content.Subject), sealed, jetstream.WithMsgTTL(min(life, MaxLife)))
	}
	if err != nil {
		return fmt.Errorf("keep a session: %w", err)
	}
	return nil
}

// Get gives the session of a secret. It fails with ErrNone.
func (s *Store) Get(ctx context.Context, secret string) (Session, error) {
	if !WellFormed(secret) {
		return Session{}, ErrNone
	}
	m, err := s.message(ctx, ID(secret))
	if err != nil {
		return Session{}, err
	}
	content, err := open(secret, m.Data)
	if err != nil || !content.Expires.After(s.now()) {
		return Session{}, ErrNone // it was put there by another program, and is no session
	}
	return content, nil
}

// Holds says whether the session of an ID is still there.
func (s *Store) Holds(ctx context.Context, id string) (bool, error) {
	_, err := s.message(ctx, id)
	if errors.Is(err, ErrNone) {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) message(ctx context.Context, id string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	var m *jetstream.RawStreamMsg
	stream, err := s.stream(ctx)
	if err == nil {
		m, err = stream.GetLastMsgForSubject(ctx, ofID(id))
	}
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, ErrNone
	case err != nil:
		return nil, fmt.Errorf("read a session: %w", err)
	}
	return m, nil
}

// Delete ends the session of an ID.
func (s *Store) Delete(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	stream, err := s.stream(ctx)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(ofID(id)))
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("end a session: %w", err)
	}
	return nil
}

// stream gives the bucket's stream.
func (s *Store) stream(ctx context.Context) (jetstream.Stream, error) {
	if found := s.found.Load(); found != nil {
		return *found, nil
	}
	found, err := s.js.Stream(ctx, eventlog.BucketStream(eventlog.BucketSessions))
	if err == nil {
		s.found.Store(&found)
	}
	return found, err
}

// subject is where a session of a person is kept. It tells nobody the person's subject, which is
// hashed.
func subject(id, person string) string {
	sum := sha256.Sum256([]byte(person))
	return eventlog.KVSubject(eventlog.BucketSessions, id+"."+hex.EncodeToString(sum[:]))
}

// ofID is where the session of an ID is, of whichever person.
func ofID(id string) string { return eventlog.KVSubject(eventlog.BucketSessions, id+".*") }
