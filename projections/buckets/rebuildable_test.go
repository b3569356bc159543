package buckets_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/buckets"
)

// A bucket is rebuilt from a log that has all it ever had, and by one alone.
func TestABucketIsNotRebuiltWhereThatLosesWhatItHas(t *testing.T) {
	t.Parallel()
	logConfig := func(t *testing.T, js jetstream.JetStream) jetstream.StreamConfig {
		s, err := js.Stream(t.Context(), eventlog.LogStream)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Config
	}
	replace := func(t *testing.T, js jetstream.JetStream, change func(*jetstream.StreamConfig)) jetstream.Stream {
		c := logConfig(t, js)
		change(&c)
		return natstest.Recreate(t, js, c)
	}
	for name, c := range map[string]struct {
		damage func(*testing.T, jetstream.JetStream)
		want   error
	}{
		"all is well": {func(*testing.T, jetstream.JetStream) {}, nil},
		"without a bucket": {func(t *testing.T, js jetstream.JetStream) {
			mustDelete(t, js, eventlog.BucketStream(eventlog.BucketDesired))
		}, nil},
		"without a log": {func(t *testing.T, js jetstream.JetStream) { mustDelete(t, js, eventlog.LogStream) }, jetstream.ErrStreamNotFound},
		"of another log": {func(t *testing.T, js jetstream.JetStream) {
			mustDelete(t, js, eventlog.LogStream)
			if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); err != nil {
				t.Fatal(err)
			}
		}, buckets.ErrOtherLog},
		"of a log that lost its tail": {func(t *testing.T, js jetstream.JetStream) {
			replace(t, js, func(*jetstream.StreamConfig) {})
		}, buckets.ErrAhead},
		"of a log that lost its head": {func(t *testing.T, js jetstream.JetStream) {
			replace(t, js, func(c *jetstream.StreamConfig) { c.FirstSeq = 5 })
			assign(t, js, "pi-01", "hello", `{}`)
		}, buckets.ErrIncomplete},
		"of a log that lost a message": {func(t *testing.T, js jetstream.JetStream) {
			s := replace(t, js, func(c *jetstream.StreamConfig) { c.DenyDelete, c.DenyPurge = false, false })
			for range 3 {
				assign(t, js, "pi-01", "hello", `{}`)
			}
			if err := s.DeleteMsg(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
		}, buckets.ErrIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, js := natstest.Start(t).Connect(t)
			ensure(t, js)
			for range 2 {
				assign(t, js, "pi-01", "hello", `{"type":"PodmanV0"}`)
			}
			contents(t, js, eventlog.BucketDesired)
			c.damage(t, js)
			if _, err := buckets.Rebuildable(t.Context(), js, eventlog.BucketDesired); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func mustDelete(t *testing.T, js jetstream.JetStream, stream string) {
	t.Helper()
	if err := js.DeleteStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
}

// rebuilding makes a bucket of states that the server has just begun to fill, from a
// log that takes it a while, with the mark of a rebuild. The log has few subjects: the server
// looks through those of a block for each message, which takes minutes with the race detector.
func rebuilding(t *testing.T, js jetstream.JetStream, which string) jetstream.StreamConfig {
	t.Helper()
	ensure(t, js)
	const reports = 40_000
	fast, err := jetstream.New(js.Conn(), jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	for i := range reports {
		if _, err := fast.PublishAsync(eventlog.StateSubject("pi-01", fmt.Sprintf("d%d", i%100)), []byte("{}"), jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	<-fast.PublishAsyncComplete()
	catchUp(t, js, eventlog.BucketState)
	c := configOf(t, js, eventlog.BucketState)
	c.Metadata["fleet-rebuilding"] = which
	mustDelete(t, js, c.Name)
	make1(t, js, c)
	return c
}

// While a rebuild goes on nobody else begins one. One that was cut short can be
// done again, once the server has brought the log into the bucket.
func TestARebuildIsDoneByOneAlone(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	cut := rebuilding(t, js, "of somebody who goes on, or died")
	if _, err := buckets.Rebuildable(t.Context(), js, eventlog.BucketState); !errors.Is(err, buckets.ErrUnderWay) {
		t.Errorf("while it goes on: %v, want ErrUnderWay", err)
	}
	catchUp(t, js, eventlog.BucketState)
	config, err := buckets.Rebuildable(t.Context(), js, eventlog.BucketState)
	if err != nil {
		t.Fatalf("after it was cut short: %v", err)
	}
	// Anyone who lost the race to another says so.
	taken := false
	err = buckets.Rebuild(t.Context(), js, config, eventlog.BucketState, func(uint64, uint64) {
		if !taken {
			taken = true
			mustDelete(t, js, cut.Name)
			cut.Metadata["fleet-rebuilding"] = "of another"
			if _, err := js.CreateStream(t.Context(), cut); err != nil {
				t.Fatal(err)
			}
		}
	})
	if !errors.Is(err, buckets.ErrUnderWay) {
		t.Errorf("beside another: %v, want ErrUnderWay", err)
	}
}
