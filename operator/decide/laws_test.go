package decide_test

import (
	"fmt"
	"slices"
	"strings"
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

// Whatever happens to CRs and labels, in whatever order and with only the touched
// things asked about, the log ends with just what the selectors say: so no index
// forgets anybody. Of two Deployments of one name that match a device, the one that
// holds the name keeps it while it matches; a name that is free goes to the one that
// the log applied first. There alone history counts.
func TestIncrementalPlacementEqualsFullPlacement(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		l := &placementLaw{rt: rt, w: newWorld(rt), crs: map[fleet.Key]*v1alpha1.Deployment{}, applied: map[fleet.Key]int{}, placed: map[string][2]string{}, left: map[string]bool{}, want: map[string]string{}}
		l.w.View().Track()
		for i := range rapid.IntRange(1, 30).Draw(rt, "steps") {
			l.step(i)
			l.rule()
			if diff := cmp.Diff(l.want, l.w.assignments()); diff != "" {
				rt.Fatalf("after step %d: assignments (-made again +by change):\n%s", i, diff)
			}
		}
	})
}

// placementLaw is a world, and what a reader of the contract expects of it.
type placementLaw struct {
	rt      *rapid.T
	w       *world
	crs     map[fleet.Key]*v1alpha1.Deployment
	applied map[fleet.Key]int    // the step that applied it last
	placed  map[string][2]string // the labels of each device
	left    map[string]bool      // devices that a person took out of the fleet
	want    map[string]string    // "device.name": the namespace that holds it
}

func (l *placementLaw) step(i int) {
	pick := func(what string, of ...string) string { return rapid.SampledFrom(of).Draw(l.rt, fmt.Sprint(what, i)) }
	switch pick("do", "label", "label", "put", "put", "delete", "decommission", "allow") {
	case "decommission":
		id := pick("device", "a", "b", "c", "d")
		l.w.tell(eventlog.DeviceRequestSubject("ada", id), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestDecommission})
		l.ask(decide.OfDevice(id))
		l.left[id] = true
	case "allow":
		id := pick("device", "a", "b", "c", "d")
		l.w.requestAccess(id, eventlog.RequestAllow, "")
		l.ask(decide.OfDevice(id))
		delete(l.left, id)
	case "label":
		id, ls := pick("device", "a", "b", "c", "d"), [2]string{pick("site", "x", "y", ""), pick("zone", "1", "2", "")}
		l.placed[id] = ls
		l.ask(l.w.label(id, setOf(ls)...))
	case "put":
		d := drawCR(l.rt, i, pick("namespace", "m", "n"), pick("name", "web", "db"))
		k := fleet.Key{Namespace: d.Namespace, Name: d.Name}
		if old := l.crs[k]; old != nil {
			d.Generation = old.Generation + 1
		}
		l.crs[k], l.applied[k] = d, i
		l.ask(l.w.put(d))
	case "delete":
		k := fleet.Key{Namespace: pick("namespace", "m", "n"), Name: pick("name", "web", "db")}
		d := l.crs[k]
		if d == nil {
			return
		}
		gone := d.DeepCopy()
		deleting(gone)
		l.ask(l.w.put(gone))
		if !l.w.Ended(k) {
			l.rt.Fatalf("%s was deleted and is not ended", k)
		}
		l.w.RemoveDeployment(k)
		l.ask(decide.OfDeployment(k))
		delete(l.crs, k)
	}
}

// ask settles an input, and what the log then says has changed, as the shell does.
func (l *placementLaw) ask(in decide.Input) {
	for ins := []decide.Input{in}; len(ins) > 0; {
		l.w.settle(ins...)
		deployments, devices := l.w.View().Drain()
		ins = nil
		for _, k := range deployments {
			ins = append(ins, decide.OfProgress(k))
		}
		for _, id := range devices {
			ins = append(ins, decide.OfDevice(id))
		}
		slices.SortFunc(ins, func(a, b decide.Input) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
}

// rule makes what is wanted again, by brute force, but for who holds a name.
func (l *placementLaw) rule() {
	for id, ls := range l.placed {
		set := labels.Set{v1alpha1.LabelDevice: id}
		for kv := setOf(ls); len(kv) > 0; kv = kv[2:] {
			set[kv[0]] = kv[1]
		}
		for _, name := range []string{"web", "db"} {
			at, first := id+"."+name, ""
			for _, ns := range []string{"m", "n"} {
				k := fleet.Key{Namespace: ns, Name: name}
				if l.left[id] || l.crs[k] == nil || !l.matches(k, set) {
					if l.want[at] == ns {
						delete(l.want, at)
					}
					continue
				}
				if first == "" || l.applied[k] < l.applied[fleet.Key{Namespace: first, Name: name}] {
					first = ns
				}
			}
			if l.want[at] == "" && first != "" {
				l.want[at] = first
			}
		}
	}
}

func (l *placementLaw) matches(k fleet.Key, set labels.Set) bool {
	sel, err := metav1.LabelSelectorAsSelector(&l.crs[k].Spec.TargetSelector)
	if err != nil {
		l.rt.Fatal(err)
	}
	return sel.Matches(set)
}

func drawCR(rt *rapid.T, i int, namespace, name string) *v1alpha1.Deployment {
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
	return cr(namespace, name, image, nil, opts...)
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
