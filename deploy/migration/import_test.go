package migration_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/migration"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/verify"
)

func TestAFleetOfAThousandDevicesIsImported(t *testing.T) {
	t.Parallel()
	source := newOriginal(t)
	source.fill(1000)
	s := source.read()
	nc, js := natstest.Start(t).Connect(t)
	r := run(t, s, nc, js)
	if len(r.Refused) > 0 || len(r.Differences) > 0 || len(r.Notes) > 0 {
		t.Fatalf("refused %v, differences %v, notes %v", r.Refused, r.Differences, r.Notes)
	}
	want := map[string]migration.Count{
		eventlog.BucketDesired:   {Entries: 1250, New: 1250, Respelt: 1250, Verified: 1250},
		eventlog.BucketState:     {Entries: 1250, New: 1250, Verified: 1250},
		eventlog.BucketInfo:      {Entries: 1000, New: 1000, Verified: 1000},
		eventlog.BucketHeartbeat: {Entries: 1000, New: 1000, Verified: 1000},
	}
	for b, w := range want {
		if diff := cmp.Diff(w, *r.Counts[b]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", b, diff)
		}
		in, out := values(t, source.js, b), values(t, js, b)
		if b == eventlog.BucketDesired {
			for k := range in {
				in[k] = string(canonical(t, []byte(in[k])))
			}
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Errorf("bucket %s (-source +log):\n%s", b, diff)
		}
	}
	got, err := verify.Run(t.Context(), js, verify.Options{})
	if err != nil || len(got.Findings) > 0 {
		t.Errorf("verify: %v, %+v", err, got)
	}
	v, err := asof.At(t.Context(), js, asof.Moment{}, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	hello := v.Deployments[fleet.Key{Namespace: "shop", Name: "hello"}]
	if c := hello.Counts; hello.Spec.Revision != 1 || c.Succeeded != 1000 || c.Matched != 1000 {
		t.Errorf("hello: revision %d, %+v", hello.Spec.Revision, c)
	}
	if diff := cmp.Diff([]migration.Deployment{
		{Namespace: "shop", Name: "camera", Devices: 250, Revision: 1, Selector: eventlog.Selector{MatchLabels: map[string]string{"site": "hall"}}, Guessed: migration.ByLabels},
		{Namespace: "shop", Name: "hello", Devices: 1000, Revision: 1, Selector: eventlog.Selector{MatchLabels: map[string]string{"fleet": "a"}}, Guessed: migration.ByLabels},
	}, r.Deployments); diff != "" {
		t.Errorf("Deployments (-want +got):\n%s", diff)
	}
	before := logOf(t, js)
	again := run(t, s, nc, js)
	if diff := cmp.Diff(before, logOf(t, js)); diff != "" || again.Appended != 0 || again.Counts[eventlog.BucketDesired].Present != 1250 {
		t.Errorf("a second run appended something: %+v\n%s", again.Counts, diff)
	}
}

// The connection is cut at any moment, as a kill does, so what was sent last may or may
// not be in the log.
func TestAnImportThatIsCutAnywhereGoesOnToTheSameLog(t *testing.T) {
	t.Parallel()
	source := newOriginal(t)
	source.fill(80)
	source.put(eventlog.BucketDesired, eventlog.DesiredKey(deviceID(7), "hello"), score("hello:2"))
	source.remove(eventlog.BucketDesired, eventlog.DesiredKey(deviceID(8), "camera"))
	s := source.read()
	whole := &cutter{}
	nc, js := natstest.Start(t).Connect(t, nats.SetCustomDialer(whole))
	run(t, s, nc, js)
	want, sent := logOf(t, js), whole.sent.Load()

	server := natstest.Start(t)
	_, look := server.Connect(t)
	cuts, partial := 0, 0
	for try := range 40 {
		line := &cutter{}
		ctx, cancel := context.WithCancel(t.Context())
		nc, js := server.Connect(t, nats.NoReconnect(), nats.SetCustomDialer(line), nats.ClosedHandler(func(*nats.Conn) { cancel() }))
		o := options()
		if try < 15 {
			o.Elected = func(uint64) { line.cutAfter(rand.Int64N(sent / 3)) }
		}
		_, err := migration.Import(ctx, s, nc, js, o)
		cancel()
		nc.Close()
		if err == nil {
			break
		}
		cuts++
		if n := len(logOf(t, look)); n > 0 && n < len(want) {
			partial++
		}
	}
	t.Logf("cut %d times, %d times with a part of the log", cuts, partial)
	if cuts == 0 || partial == 0 {
		t.Error("no part of the import was in the log when it was cut, so this proves nothing")
	}
	if diff := cmp.Diff(want, logOf(t, look)); diff != "" {
		t.Errorf("the log (-in one go +cut and resumed):\n%s", diff)
	}
}

// cutter is a line to the server that is cut after so many bytes.
type cutter struct{ sent, most atomic.Int64 }

func (c *cutter) cutAfter(more int64) { c.most.Store(c.sent.Load() + more + 1) }

// Dial implements nats.CustomDialer.
func (c *cutter) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return &cutLine{conn, c}, err
}

type cutLine struct {
	net.Conn
	*cutter
}

func (l *cutLine) Write(b []byte) (int, error) {
	sent, most := l.sent.Add(int64(len(b))), l.most.Load()
	if most == 0 || sent < most {
		return l.Conn.Write(b)
	}
	n, err := l.Conn.Write(b[:max(0, int64(len(b))-(sent-most))])
	return n, errors.Join(err, l.Close(), net.ErrClosed)
}

func TestAnImportThatAnOperatorInterruptsStopsAndSaysSo(t *testing.T) {
	t.Parallel()
	source := newOriginal(t)
	source.fill(20)
	s := source.read()
	server := natstest.Start(t)
	nc, js := server.Connect(t)
	other, _ := server.Connect(t)
	operator, err := appender.New(other, appender.Options{Source: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Elected = func(uint64) {
		if _, err := operator.Elect(t.Context(), eventlog.Leader{Identity: "operator", ClusterUID: "here"}, time.Now()); err != nil {
			t.Error(err)
		}
	}
	if _, err := migration.Import(t.Context(), s, nc, js, o); !errors.Is(err, migration.ErrOperatorRuns) {
		t.Fatalf("got %v, want %v", err, migration.ErrOperatorRuns)
	}
	if got := logOf(t, js); len(got) > 0 {
		t.Errorf("it appended all the same: %v", got)
	}
	r := run(t, s, nc, js)
	if len(r.Differences) > 0 {
		t.Errorf("differences: %v", r.Differences)
	}
	v, err := asof.At(t.Context(), js, asof.Moment{}, asof.Options{})
	if err != nil || v.Leader.ClusterUID != "here" {
		t.Errorf("the log belongs to cluster %q (%v); the import was to leave that", v.Leader.ClusterUID, err)
	}
}

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

func TestWhatDevicesAndOperatorsSaidSinceIsKept(t *testing.T) {
	t.Parallel()
	source := newOriginal(t)
	source.fill(4)
	s := source.read()
	nc, js := natstest.Start(t).Connect(t)
	run(t, s, nc, js)
	natstest.ReportState(t, js, deviceID(1), "hello")
	if _, err := appender.Unfenced(t.Context(), js, "operator", eventlog.Draft{
		Subject: eventlog.DesiredSubject(deviceID(2), "hello"), Type: eventlog.DesiredAssigned, Time: time.Now(), Namespace: "shop", Revision: 2, Data: canonical(t, score("hello:2")),
	}); err != nil {
		t.Fatal(err)
	}
	source.put(eventlog.BucketState, eventlog.StateKey(deviceID(3), "hello"), originalState{deviceID(3), "hello", "Failed", time.Now(), nil})
	source.settle()
	before := len(logOf(t, js))
	r := run(t, source.read(), nc, js)
	if r.Appended != 1 || len(logOf(t, js)) != before+1 {
		t.Errorf("appended %d; want the one state that changed at the source", r.Appended)
	}
	if len(r.Refused) != 1 || r.Refused[0].Reason != migration.ReasonAlreadyDecided || r.Refused[0].Key != eventlog.DesiredKey(deviceID(2), "hello") {
		t.Errorf("refused: %+v", r.Refused)
	}
	if len(r.Notes) != 1 || r.Notes[0].Reason != migration.ReasonNewerInLog || len(r.Differences) > 0 {
		t.Errorf("notes: %+v, differences: %+v", r.Notes, r.Differences)
	}
}

func TestTheSameServerIsConvertedByAFile(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.fill(10)
	nc, js := o.nats.Connect(t)
	s := o.read()
	if _, err := migration.Import(t.Context(), s, nc, js, options()); !errors.Is(err, migration.ErrPlainBuckets) {
		t.Fatalf("into its own server: %v, want %v", err, migration.ErrPlainBuckets)
	}
	file := filepath.Join(t.TempDir(), "buckets.json")
	if err := migration.Save(file, s); err != nil {
		t.Fatal(err)
	}
	for _, b := range eventlog.Buckets() {
		if err := js.DeleteStream(t.Context(), eventlog.BucketStream(b)); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := migration.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, loaded); diff != "" {
		t.Fatalf("saved and loaded:\n%s", diff)
	}
	r := run(t, loaded, nc, js)
	if len(r.Differences) > 0 || r.Counts[eventlog.BucketDesired].Verified != 13 {
		t.Errorf("%+v", r.Counts[eventlog.BucketDesired])
	}
	if _, err := migration.Read(t.Context(), js, time.Now(), nil); !errors.Is(err, migration.ErrNotOriginal) {
		t.Errorf("a log's buckets as a source: %v, want %v", err, migration.ErrNotOriginal)
	}
	for name, content := range map[string]string{"cut": `{"fleet_buckets":1,"origin":"a","entr`, "another": `{"x":1}`} {
		bad := filepath.Join(t.TempDir(), name)
		if err := writeFile(bad, content); err != nil {
			t.Fatal(err)
		}
		if _, err := migration.Load(bad); !errors.Is(err, migration.ErrNotSaved) {
			t.Errorf("%s: %v, want %v", name, err, migration.ErrNotSaved)
		}
	}
}

func TestALargeFleetWithoutACommonLabelIsMarked(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	for i := range 420 {
		id := deviceID(i)
		o.put(eventlog.BucketInfo, eventlog.InfoKey(id), eventlog.DeviceInfo{DeviceID: id, Labels: map[string]string{"serial": fmt.Sprint(i)}})
		if i%2 == 0 {
			o.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "even"), score("even:1"))
		}
		if i < 50 {
			o.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "few"), score("few:1"))
		}
	}
	o.settle()
	nc, js := natstest.Start(t).Connect(t)
	r := run(t, o.read(), nc, js)
	how := map[string]string{}
	for _, d := range r.Deployments {
		how[d.Name] = d.Guessed
	}
	if diff := cmp.Diff(map[string]string{"even": migration.ByMarking, "few": migration.ByIDs}, how); diff != "" {
		t.Fatalf("selectors (-want +got):\n%s", diff)
	}
	v, err := asof.At(t.Context(), js, asof.Moment{}, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 420 {
		l, marked := v.Devices[deviceID(i)].Labels["import.fleet.nationtech.io/even"]
		if marked != (i%2 == 0) || marked && l.Owner == eventlog.OwnerDevice {
			t.Fatalf("device %d: marked %v, %+v", i, marked, l)
		}
	}
	again := run(t, o.read(), nc, js)
	if again.Appended != 0 {
		t.Errorf("a second run appended %d events", again.Appended)
	}
}
