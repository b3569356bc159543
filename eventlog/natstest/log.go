package natstest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// EnsureLog makes the event log, or ends the test. A young cluster may lose a request
// or its answer, so each is waited for 5 s, and is sent again for a minute.
func EnsureLog(t testing.TB, js jetstream.JetStream, replicas int) logstream.Info {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		info, err := logstream.Ensure(ctx, js, logstream.Config{Replicas: replicas})
		cancel()
		if err == nil {
			return info
		}
		if t.Context().Err() != nil || replicas < 2 || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// ReportState publishes what an agent does: a plain message, without a fence.
func ReportState(t testing.TB, js jetstream.JetStream, device, deployment string) {
	t.Helper()
	body := fmt.Sprintf(`{"device_id":%q,"deployment":%q,"phase":"Running"}`, device, deployment)
	if _, err := js.Publish(t.Context(), eventlog.StateSubject(device, deployment), []byte(body)); err != nil {
		t.Fatal(err)
	}
}
