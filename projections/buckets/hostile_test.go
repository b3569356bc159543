package buckets_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/buckets"
)

// sound fails the test where the bucket of states does not come to have all that
// the log has, or is not found to be sound.
func sound(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		t.Fatal(err)
	}
	if err := buckets.WaitFor(ctx, js, eventlog.BucketState, log.Last); err != nil {
		t.Fatal(err)
	}
	if found, err := buckets.Check(ctx, js, eventlog.BucketState); found != buckets.Sound || err != nil {
		t.Fatalf("check = %s, %v, want Sound", found, err)
	}
}

// The server adds to what it sources a header of its own, so what just fits into
// the log is larger in the bucket. What does not fit there is tried for ever, and
// nothing after it comes.
func TestAReportAsLargeAsTheLogTakesStopsNoBucket(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc, js := s.Connect(t)
	ensure(t, js)
	subject, data := eventlog.StateSubject("large", "web"), strings.Repeat("x", logstream.MaxMessageBytes)
	if _, err := js.Publish(t.Context(), subject, []byte(data)); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), subject, []byte(data+"x")); err == nil {
		t.Error("the log takes more than it should, and this test shows nothing")
	}
	if _, err := nc.Request(eventlog.StateSubject("good", "web"), []byte(`{}`), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	sound(t, js)
	if err := buckets.Rebuild(t.Context(), js, buckets.Config{}, eventlog.BucketState, nil); err != nil {
		t.Fatal(err)
	}
	sound(t, js)
}

// A line that ends in a line feed alone is none to the server, and one to the
// clients: a device can put there what only the server may say, or end the header
// for a client before the server's own line.
func TestAForgedSourceThatTheServerDoesNotSeeMisleadsNoCheck(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"a sequence that is to come":           "A: b\nNats-Stream-Source: FLEET 99999\r\n\r\n",
		"a sequence that was":                  "A: b\nNats-Stream-Source: FLEET 1\r\n\r\n",
		"another stream":                       "A: b\nNats-Stream-Source: PULSE 1\r\n\r\n",
		"nonsense":                             "A: b\nNats-Stream-Source: nonsense\r\n\r\n",
		"a header that cannot be read":         "A: b\nNats-Stream-Source: FLEET 1\r\nno colon\r\n\r\n",
		"a header that ends before it":         "A: b\nNats-Stream-Source: FLEET 99999\n\n\r\n\r\n",
		"a header that ends, and says no more": "A: b\n\n\r\n\r\n",
		"a header without an end":              "Fleet-N: a.1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t)
			_, js := s.Connect(t)
			ensure(t, js)
			s.Raw(t, eventlog.StateSubject("good", "web"), "NATS/1.0\r\n\r\n", `{}`)
			s.Raw(t, eventlog.StateSubject("evil", "web"), "NATS/1.0\r\n"+header, `{}`)
			sound(t, js)
			if err := buckets.Rebuild(t.Context(), js, buckets.Config{}, eventlog.BucketState, nil); err != nil {
				t.Fatal(err)
			}
			sound(t, js)
			s.Raw(t, eventlog.StateSubject("good", "more"), "NATS/1.0\r\n\r\n", `{}`)
			sound(t, js)
		})
	}
}

// A server looks no further for a header whose name it finds twice without a gap
// (nats-server, client.go, getHeaderKeyIndex), and takes the line with the names
// off what a bucket sources: so what the log would refuse comes into the bucket.
func TestAHeaderThatTheLogDoesNotSeePurgesNoBucket(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	ensure(t, js)
	s.Raw(t, eventlog.StateSubject("good", "web"), "NATS/1.0\r\n\r\n", `{}`)
	s.Raw(t, eventlog.StateSubject("evil", "web"), "NATS/1.0\r\nNats-Expected-X: Nats-RollupNats-Rollup\r\nNats-Rollup: all\r\n\r\n", `{}`)
	sound(t, js)
	kv, err := js.KeyValue(t.Context(), eventlog.BucketState)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), eventlog.StateKey("good", "web")); err != nil {
		t.Errorf("another device's state: %v", err)
	}
}

// The server takes a subject with a wildcard for a subject as any other, and
// anyone who asks for it later gets what the wildcard matches.
func TestASubjectWithAWildcardIsForeignAndStopsNoBucket(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	ensure(t, js)
	s.Raw(t, eventlog.StateSubject("evil", "*"), "NATS/1.0\r\n\r\n", `{"device_id":"evil","deployment":"*","phase":"Running"}`)
	s.Raw(t, eventlog.StateSubject("evil", ">"), "NATS/1.0\r\n\r\n", `{"device_id":"evil","deployment":">","phase":"Running"}`)
	for e, err := range reader.Read(t.Context(), js, reader.Options{}) {
		if !errors.Is(err, eventlog.ErrForeign) {
			t.Errorf("%s is read with error %v, want ErrForeign", e.Subject, err)
		}
	}
	sound(t, js)
	s.Raw(t, eventlog.StateSubject("evil", "web"), "NATS/1.0\r\n\r\n", `{"device_id":"evil","deployment":"web","phase":"Running"}`)
	sound(t, js)
}

// The log does not see this header, for the same reason, and the bucket refuses it.
func TestABucketThatCannotGoOnHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	ensure(t, js)
	s.Raw(t, eventlog.StateSubject("good", "web"), "NATS/1.0\r\n\r\n", `{}`)
	s.Raw(t, eventlog.StateSubject("evil", "web"), "NATS/1.0\r\nNats-Expected-X: Nats-TTLNats-TTL\r\nNats-TTL: soon\r\n\r\n", "{}")
	for until := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) { // poll
		m, err := buckets.Lacks(t.Context(), js, eventlog.BucketState)
		if err == nil && m != nil && m.Subject == eventlog.StateSubject("evil", "web") {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the bucket lacks %+v, %v", m, err)
		}
	}
	for _, b := range []string{eventlog.BucketState, eventlog.BucketInfo} {
		if err := js.DeleteStream(t.Context(), eventlog.BucketStream(b)); err != nil {
			t.Fatal(err)
		}
	}
	rebuilt, err := buckets.Ensure(t.Context(), js, buckets.Config{})
	if err != nil || !slices.Equal(rebuilt, []string{eventlog.BucketState, eventlog.BucketInfo}) {
		t.Errorf("ensure rebuilt %v, %v", rebuilt, err)
	}
	if found, err := buckets.Check(t.Context(), js, eventlog.BucketState); found != buckets.Sound || err != nil {
		t.Errorf("check = %s, %v", found, err)
	}
	kv, err := js.KeyValue(t.Context(), eventlog.BucketState)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), eventlog.StateKey("good", "web")); err != nil {
		t.Errorf("what comes before it: %v", err)
	}
	var stalled *buckets.StalledError
	if err := buckets.Rebuild(t.Context(), js, buckets.Config{}, eventlog.BucketState, nil); !errors.As(err, &stalled) {
		t.Errorf("rebuild: %v, want a StalledError", err)
	}
}

// The stream of pulses keeps the last of each device, so what a bucket lacks first
// changes while the bucket stands still.
func TestPulsesThatABucketCannotTakeHoldUpNoRebuild(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	ensure(t, js)
	pulse := func() {
		s.Raw(t, eventlog.PulseSubject("evil"), "NATS/1.0\r\nNats-Expected-X: Nats-TTLNats-TTL\r\nNats-TTL: soon\r\n\r\n", "{}")
	}
	pulse()
	done := make(chan error, 1)
	go func() {
		done <- buckets.Rebuild(t.Context(), js, buckets.Config{}, eventlog.BucketHeartbeat, nil)
	}()
	tick := time.NewTicker(5 * time.Second) // far more often than a bucket is given up
	defer tick.Stop()
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); {
		select {
		case err := <-done:
			if !errors.As(err, new(*buckets.StalledError)) {
				t.Errorf("rebuild: %v, want a StalledError", err)
			}
			return
		case <-tick.C:
			pulse()
		}
	}
	t.Error("the rebuild waits for ever")
}

// Buckets that were made before this was known took less, and purged.
func TestEnsureMendsABucketOfAnOlderMake(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	ensure(t, js)
	stream, err := js.Stream(t.Context(), eventlog.BucketStream(eventlog.BucketState))
	if err != nil {
		t.Fatal(err)
	}
	old := stream.CachedInfo().Config
	old.MaxMsgSize, old.AllowRollup = logstream.MaxMessageBytes, true
	if _, err := js.UpdateStream(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	ensure(t, js)
	if stream, err = js.Stream(t.Context(), eventlog.BucketStream(eventlog.BucketState)); err != nil {
		t.Fatal(err)
	}
	if c := stream.CachedInfo().Config; c.MaxMsgSize != -1 || c.AllowRollup {
		t.Errorf("at most %d bytes, rollups %v", c.MaxMsgSize, c.AllowRollup)
	}
}
