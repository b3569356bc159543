package verify_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/seal"
	"fleet.nationtech.io/projections/verify"
)

var at = time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)

// world is a server with a log, its buckets, and who seals it.
type world struct {
	*testing.T
	server *natstest.Server
	js     jetstream.JetStream
	key    nkeys.KeyPair
	public string
	tree   *seal.Tree
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, server: natstest.Start(t, natstest.PeoplesAPI(t)), tree: seal.NewTree()}
	w.key, w.public = w.newKey()
	w.connect()
	if _, err := logstream.Ensure(t.Context(), w.js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	w.ensure()
	return w
}

func (w *world) connect() { _, w.js = w.server.Connect(w.T) }

func (w *world) ensure() {
	w.Helper()
	if _, err := buckets.Ensure(w.Context(), w.js, buckets.Config{}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) newKey() (nkeys.KeyPair, string) {
	w.Helper()
	k, err := nkeys.CreateUser()
	if err != nil {
		w.Fatal(err)
	}
	public, err := k.PublicKey()
	if err != nil {
		w.Fatal(err)
	}
	return k, public
}

func (w *world) publish(m *nats.Msg) uint64 {
	w.Helper()
	ack, err := w.js.PublishMsg(w.Context(), m)
	if err != nil {
		w.Fatal(err)
	}
	return ack.Sequence
}

func (w *world) say(subject string, kind eventlog.Type, payload any) uint64 {
	w.Helper()
	d, err := eventlog.NewDraft(subject, kind, at, payload)
	if err != nil {
		w.Fatal(err)
	}
	if kind == eventlog.DesiredAssigned || kind == eventlog.DesiredWithdrawn {
		d.Namespace, d.Revision = "shop", 1
	}
	return w.publish(d.Message("operator", ulid.Make().String()))
}

var score = json.RawMessage(`{"data":{"services":[{"image":"nginx:1","name":"web"}]},"type":"PodmanV0"}`)

func (w *world) assign(device string) uint64 {
	w.Helper()
	return w.say(eventlog.DesiredSubject(device, "web"), eventlog.DesiredAssigned, score)
}

func (w *world) report(device string, n uint64) uint64 {
	w.Helper()
	return w.publish(&nats.Msg{
		Subject: eventlog.StateSubject(device, "web"), Header: nats.Header{eventlog.HeaderCounter: {eventlog.Counter{Epoch: "e", N: n}.String()}},
		Data: fmt.Appendf(nil, `{"device_id":%q,"deployment":"web","phase":"Running","last_event_at":"2026-11-24T14:03:00Z","last_error":null,"revision":%d}`, device, n),
	})
}

func (w *world) pulse(device string) {
	w.Helper()
	w.publish(&nats.Msg{Subject: eventlog.PulseSubject(device), Data: fmt.Appendf(nil, `{"device_id":%q,"at":"2026-11-24T14:03:00Z"}`, device)})
}

// seal appends a seal over all that there is. change makes it another one.
func (w *world) seal(key nkeys.KeyPair, change func(*eventlog.Seal)) uint64 {
	w.Helper()
	for e, err := range reader.Read(w.Context(), w.js, reader.Options{From: w.tree.Size() + 1}) {
		if err != nil && e.Sequence == 0 {
			w.Fatal(err)
		}
		if err := w.tree.Add(e); err != nil {
			w.Fatal(err)
		}
	}
	s, err := seal.Sign(key, w.tree, at)
	if err != nil {
		w.Fatal(err)
	}
	if change != nil {
		change(&s)
	}
	return w.say(eventlog.SealSubject, eventlog.SealCreated, s)
}

// story is some of everything, sealed twice: message 4 is web on pi-01, 5 on
// pi-02, 6 to 9 are reports, 10 and 15 seals.
func (w *world) story() {
	w.Helper()
	w.say(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "op"})
	w.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentApplied, eventlog.Deployment{UID: "1", Revision: 1, Score: score, ScoreHash: eventlog.Hash(score)})
	w.say(eventlog.DesiredSubject("pi-03", "web"), eventlog.DesiredWithdrawn, nil)
	for _, d := range []string{"pi-01", "pi-02"} {
		w.assign(d)
	}
	for _, n := range []uint64{1, 2} {
		w.report("pi-01", n)
		w.report("pi-02", n)
	}
	w.seal(w.key, nil) // 10, over 9
	for _, d := range []string{"pi-01", "pi-02"} {
		w.say(eventlog.InfoSubject(d), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: d})
		w.report(d, 3)
		w.pulse(d)
	}
	w.seal(w.key, nil) // 15, over 14
	w.report("pi-01", 4)
}

// verify verifies by consumers, and as account PEOPLE does, which must find the same.
func (w *world) verify(o verify.Options) *verify.Report {
	w.Helper()
	r, err := verify.Run(w.Context(), w.js, o)
	if err != nil {
		w.Fatal(err)
	}
	people, err := reader.People(w.js.Conn())
	if err != nil {
		w.Fatal(err)
	}
	direct, err := verify.Run(w.Context(), people, o)
	if err != nil {
		w.Fatalf("verify by direct gets: %v", err)
	}
	if diff := cmp.Diff(r.Counts, direct.Counts); diff != "" {
		w.Errorf("found (-by consumers +by direct gets)\n%s", diff)
	}
	return r
}

// wantKinds compares what was found, by kind.
func wantKinds(t *testing.T, r *verify.Report, want map[verify.Kind]uint64) {
	t.Helper()
	if diff := cmp.Diff(want, r.Counts); diff != "" {
		t.Errorf("found (-want +got)\n%s", diff)
		for _, f := range r.Findings {
			t.Logf("%+v", f)
		}
	}
}

func TestALogThatNobodyTouchedAgrees(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wantKinds(t, w.verify(verify.Options{}), map[verify.Kind]uint64{}) // empty
	w.story()
	for name, keys := range map[string]seal.Keys{"whichever key": nil, "a pinned key": {w.public}} {
		r := w.verify(verify.Options{Trusted: keys})
		t.Log(name)
		wantKinds(t, r, map[verify.Kind]uint64{})
		want := verify.Seals{Checked: 2, Held: 2, Keys: seal.Keys{w.public}, Pinned: keys != nil, Covered: 14, SealedAt: at, Root: r.Seals.Root, Beyond: 2}
		if diff := cmp.Diff(want, r.Seals); diff != "" {
			t.Errorf("seals (-want +got)\n%s", diff)
		}
		buckets := []verify.Bucket{
			{Name: eventlog.BucketDesired, Keys: 3, Compared: 3},
			{Name: eventlog.BucketState, Keys: 2, Compared: 2},
			{Name: eventlog.BucketInfo, Keys: 2, Compared: 2},
			{Name: eventlog.BucketHeartbeat, Keys: 2, Compared: 2},
		}
		if diff := cmp.Diff(buckets, r.Buckets); diff != "" {
			t.Errorf("buckets (-want +got)\n%s", diff)
		}
	}
	if r := w.verify(verify.Options{}); r.Sequence != 16 || r.Messages != 16 {
		t.Errorf("verified %d messages up to %d, want 16", r.Messages, r.Sequence)
	}
}

// One bad message of a device hides nothing, and is no difference.
func TestWhatDevicesDoWrongIsListedAndIsNoDifference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.story()
	w.publish(&nats.Msg{Subject: eventlog.StateSubject("pi-01", "web"), Data: []byte("no JSON")})
	w.publish(&nats.Msg{Subject: eventlog.StateSubject("pi-01", "web"), Data: []byte(`{"device_id":"pi-02","deployment":"web","phase":"Running"}`)})
	w.publish(&nats.Msg{Subject: eventlog.AgentSubject("pi-01"), Data: []byte("{}")})
	w.report("pi-01", 9)  // 5 to 8 never came
	w.report("pi-01", 9)  // twice
	w.report("pi-01", 10) // and on
	r := w.verify(verify.Options{Most: 2})
	wantKinds(t, r, map[verify.Kind]uint64{verify.Foreign: 3, verify.NumberGap: 4, verify.NumberRepeat: 1})
	shown := map[verify.Kind]int{}
	for _, f := range r.Findings {
		shown[f.Kind]++
	}
	if diff := cmp.Diff(map[verify.Kind]int{verify.Foreign: 2, verify.NumberGap: 1, verify.NumberRepeat: 1}, shown); diff != "" {
		t.Errorf("shown (-want +got)\n%s", diff)
	}
	if r.Differences() != 0 || r.Foreign() != 3 {
		t.Errorf("%d differences and %d foreign, want 0 and 3", r.Differences(), r.Foreign())
	}
}

// What the fold skips as one name too many is listed, by its device.
func TestReportsOfMoreNamesThanTheFoldKeepsAreListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range fleet.MaxUnknown + 3 {
		name := fmt.Sprint("stray-", i)
		w.publish(&nats.Msg{
			Subject: eventlog.StateSubject("pi-01", name),
			Data:    fmt.Appendf(nil, `{"device_id":"pi-01","deployment":%q,"phase":"Running"}`, name),
		})
	}
	r := w.verify(verify.Options{})
	wantKinds(t, r, map[verify.Kind]uint64{verify.Foreign: 3})
	if r.Differences() != 0 {
		t.Errorf("%d differences, want none: the bucket has all", r.Differences())
	}
}

// Seals that are not those of the log, or not of its key.
func TestAForgedSealIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pinned bool
		forge  func(*world)
		want   map[verify.Kind]uint64
		held   int
	}{
		"by another key, of the right root": {
			forge: func(w *world) { other, _ := w.newKey(); w.seal(other, nil) },
			want:  map[verify.Kind]uint64{verify.SealKey: 1}, held: 4,
		},
		"by another key than the pinned one": {
			pinned: true,
			forge:  func(w *world) { other, _ := w.newKey(); w.seal(other, nil) },
			want:   map[verify.Kind]uint64{verify.SealKey: 1}, held: 3,
		},
		"in the name of the key": {
			forge: func(w *world) { w.seal(w.key, func(s *eventlog.Seal) { s.RootHash[0] ^= 1 }) },
			want:  map[verify.Kind]uint64{verify.SealForged: 1}, held: 3,
		},
		"by the key, of a wrong root": {
			forge: func(w *world) {
				w.seal(w.key, func(s *eventlog.Seal) { *s = w.signOther(s.TreeSize) })
			},
			want: map[verify.Kind]uint64{verify.SealBroken: 1}, held: 3,
		},
		"over messages that are yet to come": {
			forge: func(w *world) { w.seal(w.key, func(s *eventlog.Seal) { *s = w.signOther(99) }) },
			want:  map[verify.Kind]uint64{verify.SealOutOfOrder: 1}, held: 3,
		},
		"an old one once more": {
			forge: func(w *world) { w.seal(w.key, func(s *eventlog.Seal) { *s = w.signOther(3) }) },
			want:  map[verify.Kind]uint64{verify.SealOutOfOrder: 1}, held: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.story()
			c.forge(w)
			w.report("pi-02", 4)
			w.seal(w.key, nil)
			var o verify.Options
			if c.pinned {
				o.Trusted = seal.Keys{w.public}
			}
			r := w.verify(o)
			wantKinds(t, r, c.want)
			if r.Seals.Checked != 4 || r.Seals.Held != c.held {
				t.Errorf("of %d seals %d held, want %d of 4", r.Seals.Checked, r.Seals.Held, c.held)
			}
			if r.Seals.Beyond != 1 {
				t.Errorf("%d messages are beyond the last seal that held, want 1", r.Seals.Beyond)
			}
		})
	}
}

// signOther signs a tree of another log.
func (w *world) signOther(size uint64) eventlog.Seal {
	w.Helper()
	other := seal.NewTree()
	for n := range size {
		if err := other.Add(eventlog.Event{Sequence: n + 1, Recorded: at}); err != nil {
			w.Fatal(err)
		}
	}
	s, err := seal.Sign(w.key, other, at)
	if err != nil {
		w.Fatal(err)
	}
	return s
}
