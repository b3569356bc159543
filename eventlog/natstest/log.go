package natstest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// Settle does what may be done twice on a cluster, or ends the test. A young cluster may
// lose a request or its answer, and its peers may not all be known yet: so each try has
// 5 s, and there are tries for a minute.
func Settle(t testing.TB, do func(ctx context.Context) error) {
	t.Helper()
	again(t, do, func(error) bool { return true })
}

// EnsureLog makes the event log, or ends the test. It tries again as Settle does. With one
// replica it does where no answer came in time, and where it meets the removal of a stream
// (see Recreate).
func EnsureLog(t testing.TB, js jetstream.JetStream, replicas int) (info logstream.Info) {
	t.Helper()
	again(t, func(ctx context.Context) (err error) {
		info, err = logstream.Ensure(ctx, js, logstream.Config{Replicas: replicas})
		return err
	}, func(err error) bool { return replicas > 1 || removing(err) })
	return info
}

// again tries for a minute, 5 s each time, while no answer comes in time or the error is
// one that passes.
func again(t testing.TB, do func(ctx context.Context) error, passes func(error) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := do(ctx)
		cancel()
		if err == nil {
			return
		}
		late := errors.Is(err, context.DeadlineExceeded)
		if t.Context().Err() != nil || !late && !passes(err) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // poll: no event tells that a cluster has settled
	}
}

// Recreate deletes a stream, and makes it again by a configuration.
//
// After a stream is deleted, the server removes the directory of the account's streams in the
// background where it is empty, and fails to make another stream at that moment (nats-server
// v2.15.2, server/stream.go, stream.stop). So it is asked again for a minute.
func Recreate(t testing.TB, js jetstream.JetStream, c jetstream.StreamConfig) jetstream.Stream {
	t.Helper()
	if err := js.DeleteStream(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
	var s jetstream.Stream
	again(t, func(ctx context.Context) (err error) {
		s, err = js.CreateStream(ctx, c)
		return err
	}, removing)
	return s
}

// removing says whether the server could not make a stream because it removes another one.
func removing(err error) bool {
	const storeFailed = 10049 // nats-server's JSStreamCreateErrF
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storeFailed
}

// ReportState publishes what an agent does: a plain message, without a fence.
func ReportState(t testing.TB, js jetstream.JetStream, device, deployment string) {
	t.Helper()
	body := fmt.Sprintf(`{"device_id":%q,"deployment":%q,"phase":"Running"}`, device, deployment)
	if _, err := js.Publish(t.Context(), eventlog.StateSubject(device, deployment), []byte(body)); err != nil {
		t.Fatal(err)
	}
}
