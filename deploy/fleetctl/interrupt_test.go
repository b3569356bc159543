package fleetctl_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/testlog"
	"fleet.nationtech.io/projections/buckets"
)

// Ctrl-C once the bucket is deleted: what is begun is finished, devices are told to
// sync, and the buckets that come after it are left as they are.
func TestARebuildThatIsInterruptedPutsItsBucketInServiceFirst(t *testing.T) {
	t.Parallel()
	w, err := smallFleet(t)
	if err != nil {
		t.Fatal(err)
	}
	made := func(bucket string) time.Time {
		s, err := w.js.Stream(t.Context(), eventlog.BucketStream(bucket))
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Created
	}
	before, other := made(eventlog.BucketDesired), made(eventlog.BucketHeartbeat)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	if _, err := w.js.Conn().Subscribe("$JS.EVENT.ADVISORY.STREAM.DELETED."+eventlog.BucketStream(eventlog.BucketDesired),
		func(*nats.Msg) { interrupt() }); err != nil {
		t.Fatal(err)
	}
	if err := w.js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	var out, errs testlog.Buffer
	code := fleetctl.Run(ctx, cli.Streams{
		Out: &out, Err: &errs, Now: time.Now, Name: "fleetctl", Getenv: func(string) string { return "" },
	}, []string{"--url", w.server.URL(), "--user", "operator", "--password", "p", "rebuild", "--all", "--yes"})
	if code != cli.ExitInterrupted || !strings.Contains(errs.String(), "is rebuilt and in service") {
		t.Errorf("exit code %d, stderr %q", code, errs.String())
	}
	if !strings.Contains(out.String()+errs.String(), "told to sync") {
		t.Errorf("nobody was told to sync: %q", out.String())
	}
	log, err := logstream.Inspect(t.Context(), w.js)
	if err != nil {
		t.Fatal(err)
	}
	is, err := buckets.Inspect(t.Context(), w.js, buckets.Config{}, eventlog.BucketDesired, log.ID)
	if err != nil || is.Finding != buckets.Sound || is.SyncDue != "" {
		t.Errorf("afterwards the bucket is %+v (%v)", is, err)
	}
	if !made(eventlog.BucketDesired).After(before) {
		t.Error("the bucket was not rebuilt, and this test shows nothing")
	}
	if !made(eventlog.BucketHeartbeat).Equal(other) {
		t.Error("another bucket was begun after the interruption")
	}
}
