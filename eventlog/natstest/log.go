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

// EnsureLog makes the event log, or ends the test. A young cluster may lose a request
// or its answer, so each is waited for 5 s, and is sent again for a minute. So is one that
// meets the removal of a stream (see Recreate).
func EnsureLog(t testing.TB, js jetstream.JetStream, replicas int) logstream.Info {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		info, err := logstream.Ensure(ctx, js, logstream.Config{Replicas: replicas})
		cancel()
		if err == nil {
			return info
		}
		if t.Context().Err() != nil || replicas < 2 && !removing(err) || time.Now().After(deadline) {
			t.Fatal(err)
		}
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
	for deadline := time.Now().Add(time.Minute); ; {
		s, err := js.CreateStream(t.Context(), c)
		if err == nil {
			return s
		}
		if !removing(err) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
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
