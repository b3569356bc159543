package session_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/dashboard/session"
)

func ada(ends time.Time) session.Session {
	return session.Session{Token: "a-token-that-nobody-else-reads", Subject: "subject-of-ada", Name: "Ada Lovelace", Expires: ends}
}

func TestASessionHoldsOnEachReplicaUntilItIsEnded(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	_, a := server.Connect(t)
	_, b := server.Connect(t)
	one, other := session.New(a, 1, time.Now), session.New(b, 1, time.Now)
	want := ada(time.Now().Add(time.Hour).UTC().Truncate(time.Second))
	secret := session.NewSecret()
	if _, err := other.Get(t.Context(), secret); !errors.Is(err, session.ErrNone) {
		t.Fatalf("before there is a bucket: %v", err)
	}
	if err := one.Put(t.Context(), secret, want); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		got, err := other.Get(t.Context(), secret)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	}
	if holds, err := other.Holds(t.Context(), session.ID(secret)); err != nil || !holds {
		t.Errorf("holds: %v, %v", holds, err)
	}
	if err := other.Delete(t.Context(), session.ID(secret)); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Get(t.Context(), secret); !errors.Is(err, session.ErrNone) {
		t.Errorf("a session that was ended: %v", err)
	}
	if holds, err := one.Holds(t.Context(), session.ID(secret)); err != nil || holds {
		t.Errorf("a session that was ended holds: %v, %v", holds, err)
	}
}

// Who reads the bucket learns neither the token nor the secret, and cannot make a session of one
// that is there.
func TestWhoReadsTheBucketCannotUseASession(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	store := session.New(js, 1, time.Now)
	secret, mine := session.NewSecret(), session.NewSecret()
	if err := store.Put(t.Context(), secret, ada(time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), eventlog.BucketSessions)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := kv.Keys(t.Context())
	if err != nil || len(keys) != 1 || !strings.HasPrefix(keys[0], session.ID(secret)+".") {
		t.Fatalf("the bucket has %q, %v", keys, err)
	}
	entry, err := kv.Get(t.Context(), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	_, person, _ := strings.Cut(keys[0], ".")
	for _, never := range []string{secret, "a-token", "Ada Lovelace", "subject-of-ada"} {
		if bytes.Contains(entry.Value(), []byte(never)) || strings.Contains(entry.Key(), never) {
			t.Errorf("the bucket tells %q", never)
		}
	}
	if _, err := kv.Put(t.Context(), session.ID(mine)+"."+person, entry.Value()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), mine); !errors.Is(err, session.ErrNone) {
		t.Errorf("a session that was copied under another secret: %v", err)
	}
	if _, err := kv.Put(t.Context(), session.ID(mine)+"."+person, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"what is no session": mine, "no secret": "", "a short secret": "eA", "a huge one": strings.Repeat("A", 1<<20), "a wildcard": ">"} {
		if _, err := store.Get(t.Context(), text); !errors.Is(err, session.ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASessionEndsByItself(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	now := time.Now()
	store := session.New(js, 1, func() time.Time { return now })
	secret := session.NewSecret()
	if err := store.Put(t.Context(), secret, ada(now.Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if _, err := store.Get(t.Context(), secret); !errors.Is(err, session.ErrNone) {
		t.Errorf("a session whose time is over: %v", err)
	}
	info, err := js.Stream(t.Context(), eventlog.BucketStream(eventlog.BucketSessions))
	if err != nil {
		t.Fatal(err)
	}
	c := info.CachedInfo().Config
	if c.Storage != jetstream.MemoryStorage || c.MaxAge != session.MaxLife || c.MaxBytes <= 0 || c.AllowDirect {
		t.Errorf("the bucket is %+v", c)
	}
}

// A server that ran alone loses what it had in memory.
func TestABucketThatIsLostIsMadeAgain(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	store := session.New(js, 1, time.Now)
	secret := session.NewSecret()
	for range 2 {
		if err := store.Put(t.Context(), secret, ada(time.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Get(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteKeyValue(t.Context(), eventlog.BucketSessions); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Get(t.Context(), secret); !errors.Is(err, session.ErrNone) {
			t.Errorf("without the bucket: %v", err)
		}
		if err := store.Delete(t.Context(), session.ID(secret)); err != nil {
			t.Errorf("without the bucket: %v", err)
		}
	}
}

// One person cannot fill the place of all.
func TestAPersonsOldestSessionIsReplaced(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	store := session.New(js, 1, time.Now)
	put := func(subject string) string {
		t.Helper()
		secret, who := session.NewSecret(), ada(time.Now().Add(time.Hour))
		who.Subject = subject
		if err := store.Put(t.Context(), secret, who); err != nil {
			t.Fatal(err)
		}
		return secret
	}
	other := put("another")
	var all []string
	for range 25 {
		all = append(all, put("ada"))
	}
	for i, secret := range all {
		_, err := store.Get(t.Context(), secret)
		if gone := errors.Is(err, session.ErrNone); gone != (i < 5) || err != nil && !gone {
			t.Errorf("session %d of 25: %v", i+1, err)
		}
	}
	if _, err := store.Get(t.Context(), other); err != nil {
		t.Errorf("another person's session: %v", err)
	}
}

// What has ended does not take the place of others for eight hours.
func TestNATSForgetsASessionWithItsTime(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	store := session.New(js, 1, time.Now)
	if err := store.Put(t.Context(), session.NewSecret(), ada(time.Now().Add(300*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), eventlog.BucketStream(eventlog.BucketSessions))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.State.Msgs == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("30 seconds later there are %d messages", info.State.Msgs)
		}
	}
}
