package archive_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/archive"
	"fleet.nationtech.io/projections/buckets"
)

// world is a server with a log.
type world struct {
	t      *testing.T
	server *natstest.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := natstest.Start(t)
	nc, js := s.Connect(t)
	return &world{t: t, server: s, nc: nc, js: js}
}

// fleet makes a log of some size: of every kind that projects, with withdrawals,
// a seal, and a foreign message; large data, so that it takes several chunks.
func (w *world) fleet(devices int) {
	w.t.Helper()
	ctx := w.t.Context()
	if _, err := logstream.Ensure(ctx, w.js, logstream.Config{}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := buckets.Ensure(ctx, w.js, buckets.Config{}); err != nil {
		w.t.Fatal(err)
	}
	w.say(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "op", ClusterUID: "u"})
	for i := range devices {
		id := fmt.Sprintf("pi-%02d", i)
		score := fmt.Appendf(nil, `{"data":{"services":[{"configs":{"/x":%q},"image":"app:1","name":"web"}]},"type":"PodmanV0"}`, noise(60<<10))
		for n, t := range []eventlog.Type{eventlog.DesiredAssigned, eventlog.DesiredWithdrawn, eventlog.DesiredAssigned} {
			d := eventlog.Draft{Subject: eventlog.DesiredSubject(id, "web"), Type: t, Time: time.Now(), Namespace: "shop", Revision: uint64(n + 1)}
			if t == eventlog.DesiredAssigned {
				d.Data = score
			}
			w.append(d)
		}
		w.put(eventlog.InfoSubject(id), fmt.Sprintf(`{"device_id":%q,"labels":{"site":"lab"}}`, id))
		w.put(eventlog.StateSubject(id, "web"), fmt.Sprintf(`{"device_id":%q,"deployment":"web","phase":"Running"}`, id))
	}
	w.put(eventlog.StateSubject("pi-00", "web"), "not JSON")
	w.say(eventlog.SealSubject, eventlog.SealCreated, eventlog.Seal{TreeSize: 3, Sequence: 3, RootHash: []byte("root"), PublicKey: "UABC"})
	w.say(eventlog.DeviceSubject("pi-00"), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseReceived"})
}

func noise(n int) string {
	b := make([]byte, n/2)
	_, _ = rand.Read(b) // it does not fail
	return hex.EncodeToString(b)
}

func (w *world) say(subject string, t eventlog.Type, payload any) {
	w.t.Helper()
	d, err := eventlog.NewDraft(subject, t, time.Now(), payload)
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(d)
}

func (w *world) append(d eventlog.Draft) {
	w.t.Helper()
	if _, err := appender.Unfenced(w.t.Context(), w.js, "test", d); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(subject, data string) {
	w.t.Helper()
	if _, err := w.js.Publish(w.t.Context(), subject, []byte(data)); err != nil {
		w.t.Fatal(err)
	}
}

// stored is a message as a stream's leader gives it.
type stored struct {
	Sequence uint64
	Time     time.Time
	Subject  string
	Header   nats.Header
	Data     string
}

// messages is all that a stream holds.
func messages(ctx context.Context, t *testing.T, js jetstream.JetStream, stream string) []stored {
	t.Helper()
	s, err := reader.Authoritative(ctx, js, stream)
	if err != nil {
		t.Fatal(err)
	}
	var all []stored
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		var m *jetstream.RawStreamMsg
		natstest.Settle(t, func(ctx context.Context) (err error) {
			if m, err = s.GetMsg(ctx, seq); errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil // overtaken, in a bucket
			}
			return err
		})
		if m == nil {
			continue
		}
		all = append(all, stored{m.Sequence, m.Time, m.Subject, m.Header, string(m.Data)})
	}
	return all
}

// values is what the buckets hold: by bucket and key, the value, the place in the
// log that it came from and whether it is a removal.
func (w *world) values() map[string]string {
	w.t.Helper()
	got := map[string]string{}
	for _, b := range eventlog.Buckets()[:3] {
		for _, m := range messages(w.t.Context(), w.t, w.js, eventlog.BucketStream(b)) {
			stream, seq, _ := eventlog.SourceOf(m.Header)
			got[m.Subject] = fmt.Sprintf("%s %d %v %s", stream, seq, eventlog.IsRemoval(m.Header), m.Data)
		}
	}
	return got
}

// built waits until the buckets hold what the log has for them.
func (w *world) built() map[string]string {
	w.t.Helper()
	info, err := logstream.Inspect(w.t.Context(), w.js)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range eventlog.Buckets()[:3] {
		if err := buckets.WaitFor(w.t.Context(), w.js, b, info.Last); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.values()
}

func (w *world) log() logstream.Info {
	w.t.Helper()
	info, err := logstream.Inspect(w.t.Context(), w.js)
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

func (w *world) archive(file string, o archive.CreateOptions) archive.Created {
	w.t.Helper()
	c, err := archive.Create(w.t.Context(), w.nc, file, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) restore(file string) archive.Outcome {
	w.t.Helper()
	o, err := archive.Restore(w.t.Context(), w.nc, file, archive.RestoreOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// same holds a restored server against what the first one had.
func (w *world) same(log []stored, kept map[string]string) {
	w.t.Helper()
	if diff := cmp.Diff(log, messages(w.t.Context(), w.t, w.js, eventlog.LogStream)); diff != "" {
		w.t.Errorf("the log (-first +restored):\n%.2000s", diff)
	}
	if diff := cmp.Diff(kept, w.built()); diff != "" {
		w.t.Errorf("the buckets (-first +restored):\n%.2000s", diff)
	}
	for _, b := range eventlog.Buckets() {
		if why, err := buckets.Check(w.t.Context(), w.js, b); err != nil || why != buckets.Sound {
			w.t.Errorf("bucket %s: %s, %v", b, why, err)
		}
	}
}

func file(t *testing.T) string { return filepath.Join(t.TempDir(), "fleet.archive") }

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
