package buckets_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/buckets"
)

func ensure(t *testing.T, js jetstream.JetStream) []string {
	t.Helper()
	if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	rebuilt, err := buckets.Ensure(t.Context(), js, buckets.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return rebuilt
}

func publish(t *testing.T, js jetstream.JetStream, m *nats.Msg) uint64 {
	t.Helper()
	ack, err := js.PublishMsg(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

func assign(t *testing.T, js jetstream.JetStream, device, deployment, body string) uint64 {
	t.Helper()
	d := eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, deployment), Type: eventlog.DesiredAssigned, Time: time.Now(),
		Namespace: "shop", Revision: 1, Data: []byte(body),
	}
	if body == "" {
		d.Type = eventlog.DesiredWithdrawn
	}
	return publish(t, js, d.Message("test", nats.NewInbox()))
}

// arrive waits until a bucket has what the log has.
func arrive(ctx context.Context, js jetstream.JetStream, bucket string) error {
	info, err := logstream.Inspect(ctx, js)
	if err != nil {
		return err
	}
	return buckets.WaitFor(ctx, js, bucket, info.Last)
}

func catchUp(t *testing.T, js jetstream.JetStream, bucket string) {
	t.Helper()
	if err := arrive(t.Context(), js, bucket); err != nil {
		t.Fatal(err)
	}
}

// read reads a bucket as any KV client does: of several servers one may answer that is behind.
func read(ctx context.Context, js jetstream.JetStream, bucket string) (map[string]string, error) {
	if err := arrive(ctx, js, bucket); err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, err
	}
	keys, err := kv.Keys(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, err
	}
	got := map[string]string{}
	for _, k := range keys {
		e, err := kv.Get(ctx, k)
		if err != nil {
			return nil, err
		}
		got[k] = string(e.Value())
	}
	return got, nil
}

func contents(t *testing.T, js jetstream.JetStream, bucket string) map[string]string {
	t.Helper()
	got, err := read(t.Context(), js, bucket)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// holds says in what a bucket differs from what it should hold.
func holds(ctx context.Context, js jetstream.JetStream, bucket string, want map[string]string) error {
	got, err := read(ctx, js, bucket)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("bucket %s (-want +got):\n%s", bucket, diff)
	}
	return nil
}

// The log takes an id again once its own window has passed. A rebuild, which
// passes over both within milliseconds, must not take the second for the first.
func TestARebuildTakesAnIDThatTheLogTookTwice(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	ensure(t, js)
	log, err := js.Stream(t.Context(), eventlog.LogStream)
	if err != nil {
		t.Fatal(err)
	}
	short := log.CachedInfo().Config
	short.Duplicates = 100 * time.Millisecond
	if _, err := js.UpdateStream(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	report := func(id, phase string) *jetstream.PubAck {
		ack, err := js.PublishMsg(t.Context(), &nats.Msg{
			Subject: eventlog.StateSubject("pi-01", "hello"), Header: nats.Header{jetstream.MsgIDHeader: {id}}, Data: []byte(phase),
		})
		if err != nil {
			t.Fatal(err)
		}
		return ack
	}
	report("a", "1")
	report("b", "2")
	for report("a", "3").Duplicate { // until the window has passed
	}
	if got := contents(t, js, eventlog.BucketState)["state.pi-01.hello"]; got != "3" {
		t.Fatalf("the bucket has %q before the rebuild, want 3", got)
	}
	if err := buckets.Rebuild(t.Context(), js, buckets.Config{}, eventlog.BucketState, nil); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, js, eventlog.BucketState)["state.pi-01.hello"]; got != "3" {
		t.Errorf("the rebuilt bucket has %q, want 3", got)
	}
}

func TestAPlainKVClientReadsTheKeysOfTheContract(t *testing.T) {
	t.Parallel()
	nc, js := natstest.Start(t).Connect(t)
	ensure(t, js)
	assign(t, js, "pi-01", "hello", `{"type":"PodmanV0"}`)
	assign(t, js, "pi-01", "gone", `{"type":"PodmanV0"}`)
	assign(t, js, "pi-01", "gone", "")
	publish(t, js, &nats.Msg{Subject: eventlog.StateSubject("pi-01", "hello"), Data: []byte(`{"phase":"Running"}`)})
	publish(t, js, &nats.Msg{Subject: eventlog.InfoSubject("pi-01"), Data: []byte(`{"device_id":"pi-01"}`)})
	if err := nc.Publish(eventlog.PulseSubject("pi-01"), []byte(`{"device_id":"pi-01"}`)); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{
		"desired-state": {"pi-01.hello": `{"type":"PodmanV0"}`},
		"device-state":  {"state.pi-01.hello": `{"phase":"Running"}`},
		"device-info":   {"info.pi-01": `{"device_id":"pi-01"}`},
	}
	for bucket, keys := range want {
		if diff := cmp.Diff(keys, contents(t, js, bucket)); diff != "" {
			t.Errorf("bucket %s (-want +got):\n%s", bucket, diff)
		}
	}
	kv, err := js.KeyValue(t.Context(), "device-heartbeat")
	if err != nil {
		t.Fatal(err)
	}
	w, err := kv.Watch(t.Context(), "heartbeat.pi-01")
	if err != nil {
		t.Fatal(err)
	}
	for e := range w.Updates() {
		if e != nil {
			break
		}
	}
}

func TestNoDevicePutsIntoDesiredState(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	ensure(t, js)
	kv, err := js.KeyValue(t.Context(), eventlog.BucketDesired)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "pi-01.hello", []byte("mine")); err == nil {
		t.Error("put into desired-state was accepted")
	}
}

func TestEnsureLeavesSoundBucketsAlone(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	ensure(t, js)
	for i := range 20 {
		assign(t, js, fmt.Sprintf("d%d", i), "web", `{"type":"PodmanV0"}`)
	}
	before := contents(t, js, eventlog.BucketDesired)
	s.Restart()
	_, js = s.Connect(t)
	if rebuilt := ensure(t, js); slices.Contains(rebuilt, eventlog.BucketDesired) {
		t.Errorf("rebuilt after a plain restart: %v", rebuilt)
	}
	assign(t, js, "d0", "web", `{"type":"New"}`)
	before["d0.web"] = `{"type":"New"}`
	if diff := cmp.Diff(before, contents(t, js, eventlog.BucketDesired)); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
}

// A log that went back leaves its buckets with what it no longer knows. Each is
// rebuilt before anything is decided, also where devices have reported since.
func TestBucketsOfALogThatWentBackAreRebuilt(t *testing.T) {
	t.Parallel()
	logDir := func(s *natstest.Server) string {
		return filepath.Join(s.Dir(), "jetstream", "$G", "streams", eventlog.LogStream)
	}
	tests := map[string]func(t *testing.T, s *natstest.Server, saved string){
		"its tail was cut off": func(t *testing.T, s *natstest.Server, saved string) {
			if err := os.RemoveAll(logDir(s)); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(logDir(s), os.DirFS(saved)); err != nil {
				t.Fatal(err)
			}
		},
		"it was lost": func(t *testing.T, s *natstest.Server, _ string) {
			if err := os.RemoveAll(logDir(s)); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range tests {
		for _, reported := range []int{0, 3, 30} {
			t.Run(fmt.Sprintf("%s, and %d reports came since", name, reported), func(t *testing.T) {
				t.Parallel()
				s := natstest.Start(t)
				_, js := s.Connect(t)
				ensure(t, js)
				report := func(body string, n int) {
					for i := range n {
						publish(t, js, &nats.Msg{Subject: eventlog.StateSubject(fmt.Sprintf("d%d", i), "web"), Data: []byte(body)})
					}
				}
				report(`"early"`, 5)
				assign(t, js, "d0", "web", `{"type":"Early"}`)
				s.Stop()
				saved := t.TempDir()
				if err := os.CopyFS(saved, os.DirFS(logDir(s))); err != nil {
					t.Fatal(err)
				}
				s.Start()
				_, js = s.Connect(t)
				report(`"late"`, 10)
				assign(t, js, "d0", "web", `{"type":"Late"}`)
				contents(t, js, eventlog.BucketState)
				contents(t, js, eventlog.BucketDesired)
				s.Stop()
				damage(t, s, saved)
				s.Start()
				_, js = s.Connect(t)
				if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); err != nil {
					t.Fatal(err)
				}
				report(`"since"`, reported)
				ensure(t, js)
				want := map[string]string{}
				for e, err := range reader.Read(t.Context(), js, reader.Options{Subjects: []string{eventlog.StateSubject("*", "*"), eventlog.DesiredSubject("*", "*")}}) {
					if err != nil {
						t.Fatal(err)
					}
					key := eventlog.StateKey(e.Address.Device, e.Address.Deployment)
					if e.Address.Family == eventlog.FamilyDesired {
						key = eventlog.DesiredKey(e.Address.Device, e.Address.Deployment)
					}
					want[key] = string(e.Data)
				}
				got := contents(t, js, eventlog.BucketState)
				for k, v := range contents(t, js, eventlog.BucketDesired) {
					got[k] = v
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("buckets and log (-log +buckets):\n%s", diff)
				}
			})
		}
	}
}

func TestNewValuesAreSentToTheirDeviceAndARebuildSendsNone(t *testing.T) {
	t.Parallel()
	nc, js := natstest.Start(t).Connect(t)
	ensure(t, js)
	live, err := nc.SubscribeSync(eventlog.LiveSubject("*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	next := func() *nats.Msg {
		t.Helper()
		m, err := live.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	seq := assign(t, js, "pi-01", "hello", `{"type":"A"}`)
	m := next()
	stream, source, ok := eventlog.SourceOf(m.Header)
	if m.Subject != "fleet.live.desired.pi-01.hello" || stream != eventlog.LogStream || source != seq || !ok ||
		m.Header.Get("Nats-Subject") != "$KV.desired-state.pi-01.hello" {
		t.Errorf("live message on %s with %v, want one of sequence %d", m.Subject, m.Header, seq)
	}
	var done, total uint64
	progress := func(d, n uint64) { done, total = d, n }
	if err := buckets.Rebuild(t.Context(), js, buckets.Config{}, eventlog.BucketDesired, progress); err != nil {
		t.Fatal(err)
	}
	if done != total || total != seq {
		t.Errorf("progress at the end: %d of %d, want %d of %d", done, total, seq, seq)
	}
	assign(t, js, "pi-01", "hello", `{"type":"B"}`)
	if m := next(); string(m.Data) != `{"type":"B"}` {
		t.Errorf("after a rebuild the device was sent %s, want only the new value", m.Data)
	}
	if diff := cmp.Diff(map[string]string{"pi-01.hello": `{"type":"B"}`}, contents(t, js, eventlog.BucketDesired)); diff != "" {
		t.Errorf("bucket (-want +got):\n%s", diff)
	}
}

func TestARebuildThatWasCutShortIsFinished(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	ensure(t, js)
	assign(t, js, "pi-01", "hello", `{"type":"A"}`)
	s, err := js.Stream(t.Context(), eventlog.BucketStream(eventlog.BucketDesired))
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Metadata["fleet-rebuilding"] = "true"
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if busy, err := buckets.Rebuilding(t.Context(), js, eventlog.BucketDesired); err != nil || !busy {
		t.Fatalf("rebuilding = %v, %v; want true", busy, err)
	}
	if rebuilt := ensure(t, js); !slices.Contains(rebuilt, eventlog.BucketDesired) {
		t.Errorf("rebuilt %v, want desired-state among them", rebuilt)
	}
	if busy, err := buckets.Rebuilding(t.Context(), js, eventlog.BucketDesired); err != nil || busy {
		t.Errorf("rebuilding = %v, %v; want false", busy, err)
	}
}
