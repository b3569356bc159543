package present_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/present"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/storytest"
)

// Buckets that the servers keep are not told; one that is gone is, also where this machine's
// clock is wrong.
func TestABucketThatIsGoneIsTold(t *testing.T) {
	t.Parallel()
	js := log(t)
	wrong := func() time.Time { return time.Now().Add(-time.Hour) }
	look := func() attention.Facts {
		t.Helper()
		f, ahead, err := present.Look(t.Context(), js, wrong)
		if err != nil {
			t.Fatal(err)
		}
		if f.Log == nil || f.Log.Bytes == 0 {
			t.Errorf("the log's size is %+v", f.Log)
		}
		if off := ahead - time.Hour; off.Abs() > 10*time.Minute {
			t.Errorf("the servers' clock is %s ahead, want about an hour", ahead)
		}
		return f
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		f := look()
		if len(f.Buckets) == 0 {
			break // what a bucket lacks for a while is not told; on a slow machine it may lack it for longer
		}
		if time.Now().After(deadline) {
			t.Fatalf("of sound buckets it tells %+v", f.Buckets)
		}
	}
	gone := eventlog.Buckets()[1]
	if err := js.DeleteKeyValue(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if f := look(); len(f.Buckets) != 1 || f.Buckets[0].Name != gone || f.Buckets[0].Finding != buckets.Missing {
		t.Errorf("it tells %+v, want that %s is missing", f.Buckets, gone)
	}
}

func TestHabitsAreReadFromTheLog(t *testing.T) {
	t.Parallel()
	js := log(t)
	all, err := present.Habits(t.Context(), js, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, back := all["pi-1"]; !back || len(all) != 1 {
		t.Errorf("habits are %v, want one of pi-1, which came back", all)
	}
	if all, err = present.Habits(t.Context(), js, time.Now().Add(2*attention.HabitSpan)); err != nil || len(all) != 0 {
		t.Errorf("long after, habits are %v (%v)", all, err)
	}
}

// log has two devices that were away, of which one came back, and sound buckets.
func log(t *testing.T) jetstream.JetStream {
	t.Helper()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	s := storytest.New(t)
	for _, id := range []string{"pi-1", "pi-2"} {
		s.Device(id, nil)
		s.Online(id)
		s.Offline(id)
	}
	s.Online("pi-1")
	for _, e := range s.Events {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: e.Subject, Header: e.Header, Data: e.Data}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := buckets.Ensure(t.Context(), js, buckets.Config{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	return js
}
