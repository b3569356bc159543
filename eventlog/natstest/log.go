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

// EnsureLog makes the event log, or ends the test. The first stream of a young
// cluster may have to wait for its peers, so it tries again for half a minute.
func EnsureLog(t testing.TB, js jetstream.JetStream, replicas int) logstream.Info {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		info, err := logstream.Ensure(ctx, js, logstream.Config{Replicas: replicas})
		if err == nil {
			return info
		}
		if ctx.Err() != nil || replicas < 2 {
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
