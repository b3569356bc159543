package decide_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// Whatever happens to CRs and labels, in whatever order and with only the
// touched things asked about, the log ends with just what the selectors say:
// so no index forgets anybody, and no decision depends on its history.
func TestPlacementByChangeEqualsPlacementMadeAnew(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		crs := map[fleet.Key]*v1alpha1.Deployment{}
		placed, out := map[string][2]string{}, map[string]bool{}
		for i := range rapid.IntRange(1, 30).Draw(rt, "steps") {
			pick := func(what string, of ...string) string { return rapid.SampledFrom(of).Draw(rt, fmt.Sprint(what, i)) }
			switch pick("do", "label", "label", "put", "put", "delete", "decommission", "allow") {
			case "decommission":
				id := pick("device", "a", "b", "c", "d")
				w.tell(eventlog.DeviceRequestSubject("ada", id), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestDecommission})
				w.settle(decide.OfDevice(id))
				out[id] = true
			case "allow":
				id := pick("device", "a", "b", "c", "d")
				w.tell(eventlog.AccessSubject(id), eventlog.AccessAllowed, eventlog.Access{})
				w.settle(decide.OfDevice(id))
				delete(out, id)
			case "label":
				id, ls := pick("device", "a", "b", "c", "d"), [2]string{pick("site", "x", "y", ""), pick("zone", "1", "2", "")}
				placed[id] = ls
				w.settle(w.label(id, setOf(ls)...))
			case "put":
				d := drawCR(rt, i, pick("name", "web", "db"))
				k := fleet.Key{Namespace: d.Namespace, Name: d.Name}
				if old := crs[k]; old != nil {
					d.Generation = old.Generation + 1
				}
				crs[k] = d
				w.settle(w.put(d))
			case "delete":
				k := fleet.Key{Namespace: "n", Name: pick("name", "web", "db")}
				if d := crs[k]; d != nil {
					gone := d.DeepCopy()
					deleting(gone)
					w.settle(w.put(gone))
					if !w.Ended(k) {
						rt.Fatalf("%s was deleted and is not ended", k)
					}
					w.RemoveDeployment(k)
					w.settle(decide.OfDeployment(k))
					delete(crs, k)
				}
			}
		}
		want := map[string]string{}
		for k, d := range crs {
			sel, err := metav1.LabelSelectorAsSelector(&d.Spec.TargetSelector)
			if err != nil {
				rt.Fatal(err)
			}
			for id, ls := range placed {
				set := map[string]string{v1alpha1.LabelDevice: id}
				kv := setOf(ls)
				for j := 0; j+1 < len(kv); j += 2 {
					set[kv[j]] = kv[j+1]
				}
				if sel.Matches(labels.Set(set)) && !out[id] {
					want[id+"."+k.Name] = k.Namespace
				}
			}
		}
		if diff := cmp.Diff(want, w.assignments()); diff != "" {
			rt.Fatalf("assignments (-made anew +by change):\n%s", diff)
		}
	})
}

func drawCR(rt *rapid.T, i int, name string) *v1alpha1.Deployment {
	var opts []crOption
	for range rapid.IntRange(1, 2).Draw(rt, fmt.Sprint("requirements", i)) {
		k := rapid.SampledFrom([]string{"site", "zone", v1alpha1.LabelDevice}).Draw(rt, "key")
		values := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "1", "2", "a", "b"}), 1, 3, rapid.ID[string]).Draw(rt, "values")
		switch op := rapid.SampledFrom([]metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist"}).Draw(rt, "operator"); op {
		case "In", "NotIn":
			opts = append(opts, expression(k, op, values...))
		default:
			opts = append(opts, expression(k, op))
		}
	}
	image := rapid.SampledFrom([]string{"app:1", "app:2"}).Draw(rt, "image")
	return cr("n", name, image, nil, opts...)
}

func setOf(ls [2]string) []string {
	var kv []string
	if ls[0] != "" {
		kv = append(kv, "site", ls[0])
	}
	if ls[1] != "" {
		kv = append(kv, "zone", ls[1])
	}
	return kv
}
