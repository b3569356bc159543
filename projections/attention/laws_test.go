package attention_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/attentiontest"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// drawStory tells a story of thirty devices and two Deployments of one name in which
// anything may happen.
func drawStory(t *rapid.T, tb testing.TB) *storytest.Story {
	w := storytest.New(tb)
	ids := attentiontest.Devices(w, 30)
	attentiontest.Out(w, ids...)
	for i := range rapid.IntRange(0, 80).Draw(t, "steps") {
		id := rapid.SampledFrom(ids).Draw(t, fmt.Sprint("device", i))
		switch rapid.IntRange(0, 11).Draw(t, fmt.Sprint("what", i)) {
		case 0, 1:
			w.Failing(id, storytest.Till, rapid.SampledFrom([]string{"ImageNotFound", "CrashLoop", ""}).Draw(t, fmt.Sprint("reason", i)), "it failed")
		case 2, 3:
			w.Offline(id)
		case 4:
			w.Online(id)
		case 5:
			w.Report(id, storytest.Till, eventlog.PhaseRunning, "", 1)
		case 6:
			w.State(id, fleet.Key{Name: "stray"}, eventlog.DeploymentState{Phase: eventlog.PhaseRunning})
		case 7:
			w.Say(eventlog.AccessSubject(id), eventlog.AccessRevoked, eventlog.Access{Reason: fleet.ReasonFlooding})
		case 8:
			w.Apply(attentiontest.Other, 1, storytest.Podman("nginx:1"))
		case 9:
			w.End(attentiontest.Other, eventlog.DeploymentOrphaned, "")
		case 10:
			w.Run(storytest.Till, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Reason: "BatchFailed"})
		case 11:
			w.Wait(time.Duration(rapid.IntRange(0, 60).Draw(t, fmt.Sprint("minutes", i))) * time.Minute)
		}
	}
	return w
}

func encode(t *rapid.T, v *fleet.View) []byte {
	b, err := fleet.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheListIsSortedShortAndWholeWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		v := drawStory(rt, t).Fleet(timeline.Options{})
		now := v.Clock.Add(time.Duration(rapid.IntRange(0, 100).Draw(rt, "later")) * time.Minute)
		before := encode(rt, v)
		items := attention.Of(v, now, attention.Facts{})
		if !bytes.Equal(before, encode(rt, v)) {
			rt.Fatal("looking changed the view")
		}
		again, err := fleet.Decode(before)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := gocmp.Diff(items, attention.Of(again, now, attention.Facts{})); diff != "" {
			rt.Fatalf("the same view gives another list: %s", diff)
		}
		if !slices.IsSortedFunc(items, func(a, b attention.Item) int { return cmp.Compare(b.Severity, a.Severity) }) {
			rt.Fatalf("the heaviest are not first: %+v", items)
		}
		failing, kinds := map[fleet.Key]int{}, map[attention.Kind]int{}
		for _, i := range items {
			kinds[i.Kind]++
			if i.Title == "" || i.Reason == "" || !strings.HasPrefix(i.Command, "fleetctl ") && !strings.HasPrefix(i.Command, "kubectl ") {
				rt.Fatalf("it says too little: %+v", i)
			}
			if i.Kind == attention.DevicesFailing {
				failing[fleet.Key{Namespace: i.Namespace, Name: i.Name}] += i.Devices
			}
		}
		for key, d := range v.Deployments {
			if d.Lifecycle == fleet.Applied && failing[key] != d.Counts.Failed {
				rt.Fatalf("%d devices fail, and the list has %d", d.Counts.Failed, failing[key])
			}
		}
		for _, kind := range []attention.Kind{attention.Offline, attention.Flood, attention.Unknown} {
			if kinds[kind] > attention.MaxSingle {
				rt.Fatalf("%d items are %s", kinds[kind], kind)
			}
		}
	})
}

func TestAnItemIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for name, s := range attentiontest.Stories() {
		_, _, items := s.Look(t)
		b, err := json.Marshal(items)
		if err != nil {
			t.Fatal(err)
		}
		var got []attention.Item
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := gocmp.Diff(items, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// BenchmarkOf looks at 10,000 devices with 5 Deployments each, of which one in a hundred
// fails and one in fifty is away, beside the bare look at each device.
func BenchmarkOf(b *testing.B) {
	w := storytest.New(b)
	ids := attentiontest.Devices(w, 10_000)
	for n := range 5 {
		k := fleet.Key{Namespace: "shop", Name: fmt.Sprint("app-", n)}
		applied := w.Apply(k, 1, storytest.Podman("nginx:1"))
		w.Rollout(k, eventlog.RolloutStarted, 1, len(ids))
		for i, id := range ids {
			w.Assign(id, k, 1, applied)
			if i%100 == n {
				w.Failing(id, k, "ImageNotFound", "no such tag")
			} else {
				w.Report(id, k, eventlog.PhaseRunning, "", 1)
			}
		}
		w.Rollout(k, eventlog.RolloutCompleted, 1, len(ids))
	}
	for i := 0; i < len(ids); i += 50 {
		w.Offline(ids[i])
	}
	v := w.Fleet(timeline.Options{})
	now := v.Clock.Add(time.Hour)
	b.Run("attention", func(b *testing.B) {
		for b.Loop() {
			if len(attention.Of(v, now, attention.Facts{})) == 0 {
				b.Fatal("nothing is wrong")
			}
		}
	})
	b.Run("bare look", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for _, d := range v.Devices {
				if d.Presence.Online == fleet.OnlineFalse {
					n++
				}
			}
			if n == 0 {
				b.Fatal("nobody is away")
			}
		}
	})
}
