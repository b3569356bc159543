package migration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/migration"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

// original is a fleet of the original design: four buckets that clients write.
type original struct {
	t    *testing.T
	nats *natstest.Server
	js   jetstream.JetStream
	kv   map[string]jetstream.KeyValue
}

func newOriginal(t *testing.T) *original {
	t.Helper()
	o := &original{t: t, nats: natstest.Start(t), kv: map[string]jetstream.KeyValue{}}
	_, o.js = o.nats.Connect(t)
	for _, b := range eventlog.Buckets() {
		kv, err := o.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: b, History: 5})
		if err != nil {
			t.Fatal(err)
		}
		o.kv[b] = kv
	}
	return o
}

// put writes a value as the agents and the operator of the original design do.
func (o *original) put(bucket, key string, value any) {
	o.t.Helper()
	b, ok := value.([]byte)
	if !ok {
		var err error
		if b, err = json.Marshal(value); err != nil {
			o.t.Fatal(err)
		}
	}
	if _, err := o.js.PublishAsync(eventlog.KVSubject(bucket, key), b); err != nil {
		o.t.Fatal(err)
	}
}

func (o *original) remove(bucket, key string) {
	o.t.Helper()
	o.settle()
	if err := o.kv[bucket].Delete(o.t.Context(), key); err != nil {
		o.t.Fatal(err)
	}
}

func (o *original) settle() {
	o.t.Helper()
	select {
	case <-o.js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		o.t.Fatal("the source does not answer")
	}
}

// score is a desired value as the original operator writes it: three fields, and no
// canonical form.
func score(image string) []byte {
	return []byte(`{"type": "PodmanV0", "data": {"services": [{"name": "web", "image": "` + image + `", "ports": ["8080:80"]}]}}`)
}

func canonical(t *testing.T, b []byte) []byte {
	t.Helper()
	s, err := eventlog.DecodeScore(b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func deviceID(n int) string { return fmt.Sprintf("pi-%04d", n) }

// fill writes a fleet of n devices. Each has the Deployment hello, and every fourth, of
// the site hall, camera too.
func (o *original) fill(n int) {
	o.t.Helper()
	at := time.Now().UTC()
	for i := range n {
		id, site := deviceID(i), "lab"
		if i%4 == 0 {
			site = "hall"
		}
		o.put(eventlog.BucketInfo, eventlog.InfoKey(id), eventlog.DeviceInfo{
			DeviceID: id, Labels: map[string]string{"site": site, "fleet": "a"}, UpdatedAt: at, Inventory: eventlog.Inventory{Hostname: id, AgentVersion: "0.3.1"},
		})
		o.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "hello"), score("hello:1"))
		if i%4 == 0 {
			o.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "camera"), score("camera:7"))
		}
	}
	o.settle() // the streams of two buckets keep no common order
	for i := range n {
		id := deviceID(i)
		o.put(eventlog.BucketState, eventlog.StateKey(id, "hello"), originalState{id, "hello", "Running", at, nil})
		if i%4 == 0 {
			o.put(eventlog.BucketState, eventlog.StateKey(id, "camera"), originalState{id, "camera", "Running", at, nil})
		}
		o.put(eventlog.BucketHeartbeat, eventlog.HeartbeatKey(id), eventlog.Heartbeat{DeviceID: id, At: at})
	}
	o.settle()
}

// originalState is what an agent of the original design reports.
type originalState struct {
	DeviceID    string    `json:"device_id"`
	Deployment  string    `json:"deployment"`
	Phase       string    `json:"phase"`
	LastEventAt time.Time `json:"last_event_at"`
	LastError   *string   `json:"last_error"`
}

func (o *original) read() migration.Source {
	o.t.Helper()
	s, err := migration.Read(o.t.Context(), o.js, time.Now(), nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

func options() migration.RunOptions {
	return migration.RunOptions{Options: migration.Options{Namespace: "shop", Actor: "ada", Now: time.Now()}, Identity: "fleetctl-import"}
}

func run(t *testing.T, s migration.Source, nc *nats.Conn, js jetstream.JetStream) migration.Report {
	t.Helper()
	r, err := migration.Import(t.Context(), s, nc, js, options())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// logOf lists the events of a log but for elections, with all that tells them apart.
func logOf(t *testing.T, js jetstream.JetStream) (lines []string) {
	t.Helper()
	for e, err := range reader.Read(t.Context(), js, reader.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Address.Family != eventlog.FamilyLeader {
			lines = append(lines, fmt.Sprintf("%s %s %s %s %s %d %s %s", e.Subject, e.Type, e.ID, e.CausationID, e.Namespace, e.Revision, e.Time, e.Data))
		}
	}
	return lines
}

// values reads a bucket as a plain KV client does.
func values(t *testing.T, js jetstream.JetStream, bucket string) map[string]string {
	t.Helper()
	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	w, err := kv.WatchAll(t.Context(), jetstream.IgnoreDeletes())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Stop() }()
	out := map[string]string{}
	for e := range w.Updates() {
		if e == nil {
			break
		}
		out[e.Key()] = string(e.Value())
	}
	return out
}

func writeFile(path, content string) error { return os.WriteFile(path, []byte(content), 0o600) }
