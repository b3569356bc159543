package buckets_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/buckets"
)

func configOf(t *testing.T, js jetstream.JetStream, bucket string) jetstream.StreamConfig {
	t.Helper()
	var s jetstream.Stream
	natstest.Settle(t, func(ctx context.Context) (err error) {
		s, err = js.Stream(ctx, eventlog.BucketStream(bucket))
		return err
	})
	return s.CachedInfo().Config
}

// building is the configuration of desired-state while a rebuild of it is under way.
func building(t *testing.T, js jetstream.JetStream) jetstream.StreamConfig {
	t.Helper()
	c := configOf(t, js, eventlog.BucketDesired)
	c.RePublish = nil
	c.Metadata["fleet-rebuilding"] = "by somebody who was killed"
	return c
}

func make1(t *testing.T, js jetstream.JetStream, c jetstream.StreamConfig) {
	t.Helper()
	if _, err := js.CreateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// Wherever a rebuild was cut short, and whatever else took desired-state out of
// service, Look says so, Mend puts it in service again, and it says that devices
// must be told to sync until that is recorded.
func TestADesiredStateThatIsOutOfServiceIsMended(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cut  func(*testing.T, jetstream.JetStream)
		want buckets.Finding
	}{
		"cut after the bucket was deleted": {func(t *testing.T, js jetstream.JetStream) {
			mustDelete(t, js, eventlog.BucketStream(eventlog.BucketDesired))
		}, buckets.Missing},
		"cut after the bucket was made": {func(t *testing.T, js jetstream.JetStream) {
			c := building(t, js)
			mustDelete(t, js, c.Name)
			make1(t, js, c)
		}, buckets.Unfinished},
		"cut before the bucket was put in service": {func(t *testing.T, js jetstream.JetStream) {
			c := building(t, js)
			mustDelete(t, js, c.Name)
			make1(t, js, c)
			contents(t, js, eventlog.BucketDesired)
		}, buckets.Unfinished},
		"cut while it was made from another log": {func(t *testing.T, js jetstream.JetStream) {
			c := building(t, js)
			c.Metadata["fleet-log-id"] = "another"
			c.Sources[0].OptStartSeq = 3
			mustDelete(t, js, c.Name)
			make1(t, js, c)
		}, buckets.Unfinished},
		"somebody switched its live values off": {func(t *testing.T, js jetstream.JetStream) {
			c := configOf(t, js, eventlog.BucketDesired)
			c.RePublish = nil
			if _, err := js.UpdateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}, buckets.Misconfigured},
		"somebody made it of another log": {func(t *testing.T, js jetstream.JetStream) {
			c := configOf(t, js, eventlog.BucketDesired)
			c.Metadata["fleet-log-id"] = "another"
			if _, err := js.UpdateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}, buckets.OtherLog},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, js := natstest.Start(t).Connect(t)
			ensure(t, js)
			want := map[string]string{}
			for _, device := range []string{"pi-01", "pi-02", "pi-03"} {
				assign(t, js, device, "hello", `{"type":"PodmanV0"}`)
				want[device+".hello"] = `{"type":"PodmanV0"}`
			}
			contents(t, js, eventlog.BucketDesired)
			live := make(chan *nats.Msg, 64)
			if _, err := nc.ChanSubscribe(eventlog.LiveSubject("*", "*"), live); err != nil {
				t.Fatal(err)
			}
			c.cut(t, js)
			log, err := logstream.Inspect(t.Context(), js)
			if err != nil {
				t.Fatal(err)
			}
			look := func() buckets.Service {
				s, err := buckets.Inspect(t.Context(), js, buckets.Config{}, eventlog.BucketDesired, log.ID)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			if got := look(); got.Finding != c.want {
				t.Errorf("look = %s, want %s", got.Finding, c.want)
			}
			mended(t, js, eventlog.BucketDesired)
			got := look()
			if got.Finding != buckets.Sound || got.SyncDue == "" {
				t.Errorf("after it was mended: %+v, want it sound, and a sync due", got)
			}
			if diff := cmp.Diff(want, contents(t, js, eventlog.BucketDesired)); diff != "" {
				t.Errorf("after it was mended (-want +got):\n%s", diff)
			}
			if n := len(live); n > 0 {
				t.Errorf("%d old values were sent to devices", n)
			}
			assign(t, js, "pi-01", "hello", `{"type":"New"}`)
			select {
			case m := <-live:
				if string(m.Data) != `{"type":"New"}` {
					t.Errorf("live value %s", m.Data)
				}
			case <-time.After(30 * time.Second):
				t.Error("a new value is not sent to its device")
			}
			ensure(t, js)
			if due, err := buckets.ResyncDue(t.Context(), js); err != nil || due != got.SyncDue {
				t.Errorf("after it was ensured once more, sync is due after %q (%v), want %q", due, err, got.SyncDue)
			}
			if err := buckets.ResyncRequested(t.Context(), js, "another rebuild"); err != nil || look().SyncDue == "" {
				t.Errorf("what was told after another rebuild was taken for this one (%v)", err)
			}
			if err := buckets.ResyncRequested(t.Context(), js, got.SyncDue); err != nil || look().SyncDue != "" {
				t.Errorf("after devices were told: %+v, %v", look(), err)
			}
		})
	}
}

// The operator that leads does not disturb a rebuild that goes on. Once it is at its end and
// nobody puts the bucket in service, it is finished, also where the bucket is not
// quiet: the server brings it what comes.
func TestARebuildThatGoesOnIsNotMended(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	rebuilding(t, js, "of somebody who goes on")
	if _, err := buckets.Mend(t.Context(), js, buckets.Config{}, eventlog.BucketState); !errors.Is(err, buckets.ErrUnderWay) {
		t.Errorf("while it goes on: %v, want ErrUnderWay", err)
	}
	if got := configOf(t, js, eventlog.BucketState).Metadata["fleet-rebuilding"]; got != "of somebody who goes on" {
		t.Errorf("the rebuild is now %q", got)
	}
	catchUp(t, js, eventlog.BucketState)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if _, err := js.Publish(t.Context(), eventlog.StateSubject("pi-01", "hello"), []byte("{}")); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	if !mended(t, js, eventlog.BucketState) {
		t.Error("nobody finished it")
	}
	close(stop)
	<-stopped
}

// mended mends a bucket once nobody else rebuilds it.
func mended(t *testing.T, js jetstream.JetStream, bucket string) bool {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // poll: the server fills the bucket
		rebuilt, err := buckets.Mend(t.Context(), js, buckets.Config{}, bucket)
		if err == nil {
			return rebuilt
		}
		if !errors.Is(err, buckets.ErrUnderWay) || time.Now().After(until) {
			t.Fatal(err)
		}
	}
}
