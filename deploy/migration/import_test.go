package migration_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
