package buckets_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/buckets"
)

func onThree(t *testing.T) (jetstream.JetStream, buckets.Config) {
	t.Helper()
	_, js := natstest.Cluster(t, 3).Connect(t)
	natstest.EnsureLog(t, js, 3)
	c := buckets.Config{Replicas: 3}
	natstest.Settle(t, func(ctx context.Context) error {
		_, err := buckets.Ensure(ctx, js, c)
		return err
	})
	return js, c
}

// On three servers, while the log is written at full speed, a bucket is never
// taken for one that the log has left behind.
func TestABucketOfABusyLogIsSound(t *testing.T) {
	t.Parallel()
	js, _ := onThree(t)
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, err := js.Publish(ctx, eventlog.StateSubject(fmt.Sprintf("d%d", i%50), "web"), fmt.Appendf(nil, `{"n":%d}`, i))
			if err != nil && ctx.Err() == nil && !unsettled(err) {
				t.Errorf("publish: %v", err)
				return
			}
		}
	})
	for range 20 {
		var found buckets.Finding
		until(t, "check", func() (err error) {
			found, err = buckets.Check(t.Context(), js, eventlog.BucketState)
			if err == nil && found == buckets.Halted {
				err = errors.New("its servers elect")
			}
			return err
		})
		if found != buckets.Sound {
			t.Errorf("bucket of a busy log is %s", found)
			break
		}
	}
	cancel()
	busy.Wait()
}

// unsettled says whether no answer came: servers that are busy lose sight of each other, and
// one that elects takes nothing.
func unsettled(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

func TestARebuildOnThreeServersHoldsAll(t *testing.T) {
	t.Parallel()
	js, c := onThree(t)
	want := map[string]string{}
	for i := range 200 {
		device, body := fmt.Sprintf("d%d", i%40), fmt.Sprintf(`{"type":"T%d"}`, i)
		assign(t, js, device, "web", body)
		want[device+".web"] = body
	}
	for range 3 {
		until(t, "rebuild", func() error { return buckets.Rebuild(t.Context(), js, c, eventlog.BucketDesired, nil) })
		until(t, "what it holds after a rebuild", func() error { return holds(t.Context(), js, eventlog.BucketDesired, want) })
	}
	until(t, "ensured again", func() error {
		rebuilt, err := buckets.Ensure(t.Context(), js, c)
		if len(rebuilt) > 0 {
			t.Errorf("ensured again: rebuilt %v, want none", rebuilt)
		}
		return err
	})
}
