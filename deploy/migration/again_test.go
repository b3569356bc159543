package migration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
)

func TestAnImportThatIsRunAgainLeavesEachDeviceSelected(t *testing.T) {
	t.Parallel()
	three := func(w *world) { // three devices of one site, of which x is refused
		for _, id := range []string{"a", "b", "x"} {
			w.info(id, lab())
			w.desired(id, "web:1")
		}
		w.broken("x")
	}
	many := func(w *world, members, all int) { // devices that nothing tells apart
		for i := range all {
			id := w.prefix + fmt.Sprintf("d%04d", i)
			w.info(id, lab())
			if i < members {
				w.desired(id, "web:1")
			}
		}
	}
	for name, story := range map[string]func(w *world){
		"a device whose value is mended is selected too": func(w *world) {
			three(w)
			w.refuses(w.run(), map[string]Reason{"x.web": "InvalidJSON"})
			w.check()
			w.desired("x", "web:1")
			w.refuses(w.run(), map[string]Reason{})
			if !w.has("x") || w.web().Spec.Revision != 1 {
				w.t.Fatalf("x has it: %v; revision %d, want 1", w.has("x"), w.web().Spec.Revision)
			}
		},
		"a device that is mended is refused where an operator's selector leaves it out": func(w *world) {
			three(w)
			w.run()
			w.operate(nil)
			w.own(nil)
			w.desired("x", "web:1")
			w.refuses(w.run(), map[string]Reason{"x.web": "NotSelected"})
		},
		"it is imported where the operator's selector selects it": func(w *world) {
			three(w)
			w.run()
			w.operate(map[string]map[string]string{"a": {"pool": "p"}, "b": {"pool": "p"}, "x": {"pool": "p"}})
			w.own(&eventlog.Selector{MatchLabels: map[string]string{"pool": "p"}})
			w.desired("x", "web:1")
			w.refuses(w.run(), map[string]Reason{})
			if !w.has("x") {
				w.t.Fatal("x has it not")
			}
		},
		"a device that is mended with older content leaves the newest as it is": func(w *world) {
			w.info("a", lab())
			w.desired("x", "web:1")
			w.desired("a", "web:2")
			w.refuses(w.run(), map[string]Reason{"x.web": "UnknownDevice"})
			newest := w.web().Spec.ScoreHash
			w.info("x", lab())
			w.refuses(w.run(), map[string]Reason{})
			if w.web().Spec.ScoreHash != newest || !w.has("x") {
				w.t.Fatalf("the Deployment is now %s, want %s", w.web().Spec.Score, newest)
			}
		},
		"a device whose value is broken since keeps what the log gave to it": func(w *world) {
			three(w)
			w.desired("x", "web:1")
			w.run()
			w.broken("x")
			w.desired("a", "web:2")
			w.desired("b", "web:2")
			w.refuses(w.run(), map[string]Reason{"x.web": "InvalidJSON"})
			if !w.has("x") {
				w.t.Fatal("x has it no longer")
			}
		},
		"a device that lost it at the source is selected no longer": func(w *world) {
			three(w)
			w.desired("x", "web:1")
			w.run()
			w.put(eventlog.BucketDesired, eventlog.DesiredKey("x", "web"), nil)
			w.run()
			if w.has("x") {
				w.t.Fatal("x has it still")
			}
		},
		"a Deployment that no device has any more ends, and can come back": func(w *world) {
			w.info("a", lab())
			w.desired("a", "web:1")
			w.run()
			w.put(eventlog.BucketDesired, eventlog.DesiredKey("a", "web"), nil)
			w.refuses(w.run(), map[string]Reason{})
			if w.web().Lifecycle != fleet.Deleted || w.has("a") {
				w.t.Fatalf("it is %s, and a has it: %v", w.web().Lifecycle, w.has("a"))
			}
			w.desired("a", "web:1")
			w.refuses(w.run(), map[string]Reason{})
			if w.web().Lifecycle != fleet.Applied || !w.has("a") || w.web().Spec.Revision != 1 {
				w.t.Fatalf("it is %s with revision %d, and a has it: %v", w.web().Lifecycle, w.web().Spec.Revision, w.has("a"))
			}
		},
		"devices that are relabelled while all values are refused stay selected": func(w *world) {
			three(w)
			w.run()
			w.broken("a")
			w.broken("b")
			w.info("a", map[string]string{"site": "roof"})
			w.info("b", map[string]string{"site": "roof"})
			w.run()
		},
		"a device that moved early is judged by the labels that it reports there": func(w *world) {
			three(w)
			w.desired("x", "web:1")
			w.move("x", map[string]string{"site": "roof"})
			w.run()
		},
		"a device of the new fleet alone is judged by the labels that a person set": func(w *world) {
			three(w)
			w.desired("x", "web:1")
			w.move("n", map[string]string{"site": "roof"})
			w.operate(map[string]map[string]string{"n": lab()})
			w.run()
		},
		"a device of which only a person's labels are known is not selected": func(w *world) {
			three(w)
			w.desired("x", "web:1")
			w.said(eventlog.DeviceSubject("n"), eventlog.DeviceRelabeled, eventlog.Labels{Labels: map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: "kubectl"}}})
			w.run()
			if sel := w.web().Spec.Selector; selectors.Selects(sel, map[string]string{"site": "lab", v1alpha1.LabelDevice: "n"}) {
				w.t.Fatalf("n is selected by %s", selectors.SelectorText(sel))
			}
		},
		"a device that moved early is marked": func(w *world) {
			w.move("d0000", lab())
			many(w, 201, 203)
			w.run()
		},
		"a device that is marked and lost it at the source loses the mark": func(w *world) {
			many(w, 202, 203)
			w.run()
			w.check()
			w.put(eventlog.BucketDesired, eventlog.DesiredKey("d0000", "web"), nil)
			w.run()
		},
		"where a Device is in the cluster, which no import can mark, ids are listed": func(w *world) {
			w.move("d0000", lab())
			w.operate(nil)
			many(w, 201, 203)
			w.refuses(w.run(), map[string]Reason{})
		},
		"where the ids are too many that device is refused": func(w *world) {
			w.prefix = strings.Repeat("n", 50) + "-"
			w.move(w.prefix+"d0000", lab())
			w.operate(nil)
			many(w, 300, 301)
			w.refuses(w.run(), map[string]Reason{w.prefix + "d0000.web": "NotSelected"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			story(w)
			w.check()
			if again := w.plan(); len(again.Events) > 0 {
				t.Errorf("another run would append %d events, the first: %+v", len(again.Events), again.Events[0])
			}
		})
	}
}

func TestADeploymentThatAnOperatorDecidedIsNotOverwritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.move("n", lab())
	w.operate(nil)
	d, err := eventlog.DecodeScore([]byte(`{"type":"PodmanV0","data":{"services":[{"name":"web","image":"web:9"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	score, err := d.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	theirs := eventlog.Deployment{UID: "uid", Generation: 1, Revision: 1, Selector: eventlog.Selector{MatchLabels: lab()}, Score: score, ScoreHash: eventlog.Hash(score)}
	w.said(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentApplied, theirs)
	w.info("a", lab())
	w.desired("a", "web:1")
	w.info("b", lab())
	w.desired("b", "web:9")
	p := w.run()
	w.refuses(p, map[string]Reason{"a.web": "OperatorOwns"})
	if diff := cmp.Diff(theirs, w.web().Spec); diff != "" || w.has("a") || !w.has("b") {
		t.Errorf("a has it: %v, b: %v; the Deployment (-before +now):\n%s", w.has("a"), w.has("b"), diff)
	}
	if len(p.Deployments) != 1 || p.Deployments[0].Guessed != "" {
		t.Errorf("%+v", p.Deployments)
	}
}

// Whatever a source, devices, persons and an operator do between imports, a Deployment
// that an import applied last is for the devices that have it, and for no others.
func TestAfterEachImportTheLogSelectsWhatItAssigned(t *testing.T) {
	t.Parallel()
	ids := []string{"a", "b", "c", "d", "e"}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		label := rapid.Custom(func(t *rapid.T) map[string]string {
			out := map[string]string{}
			for _, k := range []string{"x", "y"} {
				if v := rapid.IntRange(0, 2).Draw(t, k); v > 0 {
					out[k] = fmt.Sprint(v)
				}
			}
			return out
		})
		for range rapid.IntRange(1, 4).Draw(t, "imports") {
			for range rapid.IntRange(1, 12).Draw(t, "changes") {
				id := rapid.SampledFrom(ids).Draw(t, "device")
				switch rapid.IntRange(0, 7).Draw(t, "change") {
				case 0, 1, 2:
					w.desired(id, rapid.SampledFrom([]string{"web:1", "web:2"}).Draw(t, "image"))
				case 3, 4:
					w.info(id, label.Draw(t, "labels"))
				case 5:
					w.broken(id)
				case 6:
					w.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "web"), nil)
				case 7:
					w.move(id, label.Draw(t, "labels"))
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "operator") == 0 {
				w.operate(map[string]map[string]string{rapid.SampledFrom(ids).Draw(t, "labelled"): label.Draw(t, "labels of a person")})
			}
			p := w.run()
			w.check()
			for _, f := range p.Refused {
				if f.Reason == "NotSelected" || f.Reason == "OperatorOwns" {
					t.Fatalf("refused: %+v", f)
				}
			}
			if again := w.plan(); len(again.Events) > 0 {
				t.Fatalf("another run would append %d events, the first: %+v", len(again.Events), again.Events[0])
			}
		}
	})
}

func TestALargeFleetWithoutACommonLabelIsMarked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 420 {
		id := fmt.Sprintf("d%04d", i)
		w.info(id, map[string]string{"serial": fmt.Sprint(i)})
		if i%2 == 0 {
			w.desired(id, "web:1")
		}
	}
	p := w.run()
	if len(p.Deployments) != 1 || p.Deployments[0].Guessed != ByMarking {
		t.Fatalf("%+v", p.Deployments)
	}
	for i := range 420 {
		l, marked := w.target.View.Devices[fmt.Sprintf("d%04d", i)].Labels["import.fleet.nationtech.io/web"]
		if marked != (i%2 == 0) || marked && l.Owner == eventlog.OwnerDevice {
			t.Fatalf("device %d: marked %v, %+v", i, marked, l)
		}
	}
	w.check()
	if again := w.plan(); len(again.Events) > 0 {
		t.Errorf("a second run would append %d events", len(again.Events))
	}
}
