package migration_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/migration"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/verify"
)

func TestHostileEntriesAreListedAndTheRestIsImported(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.fill(2)
	o.put(eventlog.BucketInfo, "info.good", eventlog.DeviceInfo{DeviceID: "good", Labels: map[string]string{"a/b/c": "x", "restricted.fleet.nationtech.io/x": "y"}})
	for range 4 { // history
		o.put(eventlog.BucketDesired, "good.hello", score("hello:0"))
	}
	o.put(eventlog.BucketDesired, "good.hello", score("hello:1"))
	future := time.Now().Add(300 * 24 * time.Hour).UTC()
	o.put(eventlog.BucketHeartbeat, "heartbeat.good", eventlog.Heartbeat{DeviceID: "good", At: future})
	bad := map[[2]string]any{
		{eventlog.BucketDesired, "good.json"}:                       []byte(`{"type":"PodmanV0",`),
		{eventlog.BucketDesired, "good.empty"}:                      []byte{},
		{eventlog.BucketDesired, "good.untyped"}:                    []byte(`{"data":{}}`),
		{eventlog.BucketDesired, "good.number"}:                     []byte(`{"type":"PodmanV0","data":{"services":[],"n":12345678901234567890}}`),
		{eventlog.BucketDesired, "good.later"}:                      []byte(`{"type":"PodmanV9","data":{}}`),
		{eventlog.BucketDesired, "good.none"}:                       []byte(`{"type":"PodmanV0","data":{"services":[{"name":"web"}]}}`),
		{eventlog.BucketDesired, "good.huge"}:                       []byte(`{"type":"PodmanV0","data":{"services":[{"name":"web","image":"a","env":{"A":"` + strings.Repeat("x", 210<<10) + `"}}]}}`),
		{eventlog.BucketDesired, "good"}:                            score("a:1"),
		{eventlog.BucketDesired, "good.a.b"}:                        score("a:1"),
		{eventlog.BucketDesired, "good.Upper"}:                      score("a:1"),
		{eventlog.BucketDesired, "good." + strings.Repeat("n", 64)}: score("a:1"),
		{eventlog.BucketDesired, "nobody.hello"}:                    score("a:1"),
		{eventlog.BucketState, "good.hello"}:                        []byte(`{}`),
		{eventlog.BucketState, "state.good.other"}:                  originalState{"pi-0001", "other", "Running", time.Now(), nil},
		{eventlog.BucketState, "state.good.phase"}:                  originalState{"good", "phase", "Sleeping", time.Now(), nil},
		{eventlog.BucketState, "state.nobody.hello"}:                originalState{"nobody", "hello", "Running", time.Now(), nil},
		{eventlog.BucketInfo, "info.else"}:                          eventlog.DeviceInfo{DeviceID: "good"},
		{eventlog.BucketInfo, "info.huge"}:                          []byte(`{"device_id":"huge","x":"` + strings.Repeat("x", 260<<10) + `"}`),
		{eventlog.BucketInfo, "info._x"}:                            eventlog.DeviceInfo{DeviceID: "_x"},
		{eventlog.BucketHeartbeat, "heartbeat.nobody"}:              eventlog.Heartbeat{DeviceID: "nobody"},
		{eventlog.BucketHeartbeat, "heartbeat.pi-0001"}:             []byte(`[1]`),
		{eventlog.BucketHeartbeat, "pulse"}:                         []byte(`1`),
	}
	for k, v := range bad {
		o.put(k[0], k[1], v)
	}
	o.remove(eventlog.BucketDesired, eventlog.DesiredKey(deviceID(1), "hello"))
	o.remove(eventlog.BucketState, eventlog.StateKey(deviceID(0), "hello"))
	o.remove(eventlog.BucketDesired, "never.was")
	s := o.read()
	nc, js := natstest.Start(t).Connect(t)
	r := run(t, s, nc, js)
	got := map[string]migration.Reason{}
	for _, f := range r.Refused {
		got[f.Bucket+" "+f.Key] = f.Reason
		if f.Message == "" || len(f.Message) > 1000 {
			t.Errorf("%s: a message of %d bytes", f.Key, len(f.Message))
		}
	}
	want := map[string]migration.Reason{
		"desired-state good.json": migration.ReasonInvalidJSON, "desired-state good.empty": migration.ReasonInvalidJSON,
		"desired-state good.untyped": migration.ReasonInvalidScore, "desired-state good.number": migration.ReasonInvalidScore,
		"desired-state good.later": migration.ReasonUnknownScoreType, "desired-state good.none": migration.ReasonInvalidScore,
		"desired-state good.huge": migration.ReasonTooLarge, "desired-state good": migration.ReasonInvalidKey,
		"desired-state good.a.b": migration.ReasonInvalidKey, "desired-state good.Upper": migration.ReasonInvalidName,
		"desired-state good." + strings.Repeat("n", 64): migration.ReasonInvalidName,
		"desired-state nobody.hello":                    migration.ReasonUnknownDevice,
		"device-state good.hello":                       migration.ReasonInvalidKey, "device-state state.good.other": migration.ReasonInvalidValue,
		"device-state state.good.phase": migration.ReasonInvalidValue, "device-state state.nobody.hello": migration.ReasonUnknownDevice,
		"device-info info.else": migration.ReasonInvalidValue, "device-info info.huge": migration.ReasonTooLarge, "device-info info._x": migration.ReasonInvalidName,
		"device-heartbeat heartbeat.nobody": migration.ReasonUnknownDevice, "device-heartbeat heartbeat.pi-0001": migration.ReasonInvalidValue,
		"device-heartbeat pulse": migration.ReasonInvalidKey,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	if len(r.Differences) > 0 {
		t.Errorf("differences: %v", r.Differences)
	}
	if len(r.Notes) != 1 || r.Notes[0].Reason != migration.ReasonClockAhead || r.Notes[0].Key != "heartbeat.good" {
		t.Errorf("notes: %+v", r.Notes)
	}
	has := values(t, js, eventlog.BucketDesired)
	if diff := cmp.Diff(map[string]string{
		"good.hello": string(canonical(t, score("hello:1"))), "pi-0000.hello": string(canonical(t, score("hello:1"))), "pi-0000.camera": string(canonical(t, score("camera:7"))),
	}, has); diff != "" {
		t.Errorf("desired-state (-want +got):\n%s", diff)
	}
	kv, err := js.KeyValue(t.Context(), eventlog.BucketDesired)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), "pi-0001.hello"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("what the source withdrew: %v", err)
	}
	got2, err := verify.Run(t.Context(), js, verify.Options{})
	if err != nil || len(got2.Findings) > 0 {
		t.Errorf("verify: %v, %+v", err, got2)
	}

	strict := options()
	strict.Strict = true
	empty, emptyJS := natstest.Start(t).Connect(t)
	if _, err := migration.Import(t.Context(), s, empty, emptyJS, strict); !errors.Is(err, migration.ErrRefused) {
		t.Errorf("strict: %v", err)
	}
	dry := options()
	dry.DryRun = true
	d, err := migration.Import(t.Context(), s, empty, emptyJS, dry)
	if err != nil || len(d.Refused) != len(want) || len(d.Events) == 0 || d.Appended != 0 {
		t.Errorf("dry run: %v, %+v", err, d.Counts)
	}
	if _, err := emptyJS.Stream(t.Context(), eventlog.LogStream); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a strict import and a dry run made a log: %v", err)
	}
}
