package accounts_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/buckets"
)

// What the log takes and a bucket cannot, the server tries for ever, and no report
// of any device comes after it.
func TestTheBucketsSurviveAnyReportOfADevice(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T) *world{"one server": newWorld, "three servers": newCluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := begin(t)
			bad, good := w.device(mallory), w.device(victim)
			if got := bad.MaxPayload(); got != logstream.MaxReportBytes {
				t.Errorf("a device may send %d bytes, want %d", got, logstream.MaxReportBytes)
			}
			w.logs(bad, eventlog.StateSubject(mallory, "payload"), nil, strings.Repeat("x", logstream.MaxReportBytes))
			header := nats.Header{"A": {strings.Repeat("x", logstream.MaxReportBytes-len("NATS/1.0\r\nA: \r\n\r\n"))}}
			w.logs(bad, eventlog.StateSubject(mallory, "header"), header, "")
			w.logs(bad, eventlog.StateSubject(mallory, "*"), nil, "{}")
			w.logs(bad, eventlog.StateSubject(mallory, ">"), nil, "{}")
			w.follows()
			if err := bad.Publish(eventlog.StateSubject(mallory, "payload"), make([]byte, logstream.MaxReportBytes+1)); !errors.Is(err, nats.ErrMaxPayload) {
				t.Errorf("more than that: %v, want %v", err, nats.ErrMaxPayload)
			}
			w.logs(good, eventlog.StateSubject(victim, "web"), nil, "{}")
			w.follows()
			if err := buckets.Rebuild(t.Context(), w.js, buckets.Config{}, eventlog.BucketState, nil); err != nil {
				t.Fatal(err)
			}
			kv, err := w.js.KeyValue(t.Context(), eventlog.BucketState)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{eventlog.StateKey(mallory, "payload"), eventlog.StateKey(mallory, "header"), eventlog.StateKey(victim, "web")} {
				natstest.Settle(t, func(ctx context.Context) error { // any replica answers, which may be behind the others
					_, err := kv.Get(ctx, key)
					return err
				})
			}
		})
	}
}

// logs sends a message until the log has it.
func (w *world) logs(nc *nats.Conn, subject string, header nats.Header, data string) {
	w.t.Helper()
	eventually(w.t, "the log has "+subject, func() bool {
		m, err := nc.RequestMsg(&nats.Msg{Subject: subject, Header: header, Data: []byte(data)}, 5*time.Second)
		var ack struct {
			Seq uint64 `json:"seq"`
		}
		return err == nil && json.Unmarshal(m.Data, &ack) == nil && ack.Seq > 0
	})
}

// follows waits until the bucket of states has what the log has.
func (w *world) follows() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	log, err := logstream.Inspect(ctx, w.js)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := buckets.WaitFor(ctx, w.js, eventlog.BucketState, log.Last); err != nil {
		w.t.Fatal(err)
	}
}
