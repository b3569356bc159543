package migration

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
)

// failer is a test, or one that rapid draws.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// world is a source and a log in memory, with what operators, devices and persons do
// between two imports.
type world struct {
	t       failer
	source  map[string]Entry // by bucket and key
	written uint64           // revisions of the source
	target  Target
	last    uint64                       // the log's last sequence
	prefix  string                       // of the ids of many devices
	crs     map[string]map[string]string // Devices of the cluster: the labels that persons set
}

func newWorld(t failer) *world {
	return &world{t: t, source: map[string]Entry{}, target: NewTarget(), crs: map[string]map[string]string{}}
}

// put writes a value at the source.
func (w *world) put(bucket, key string, value []byte) {
	w.written++
	w.source[bucket+" "+key] = Entry{Bucket: bucket, Key: key, Revision: w.written, Created: time.Unix(int64(w.written), 0).UTC(), Value: value, Deleted: value == nil}
}

func (w *world) info(id string, labels map[string]string) {
	w.put(eventlog.BucketInfo, eventlog.InfoKey(id), w.json(eventlog.DeviceInfo{DeviceID: id, Labels: labels}))
}

func (w *world) desired(id, image string) {
	w.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "web"), []byte(`{"type":"PodmanV0","data":{"services":[{"name":"web","image":"`+image+`"}]}}`))
}

func (w *world) broken(id string) {
	w.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "web"), []byte(`{"type":`))
}

func (w *world) json(v any) []byte {
	w.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// append is what a writer appends to the log.
func (w *world) append(source string, e Event) {
	w.t.Helper()
	w.last++
	m := e.Draft.Message(source, e.ID)
	got, err := eventlog.Decode(m.Subject, m.Header, m.Data, w.last, time.Unix(int64(w.last), 0))
	if err != nil {
		w.t.Fatal(err)
	}
	fleet.Apply(w.target.View, got, nil)
	w.target.note(got)
}

// said is what somebody else than an import appends.
func (w *world) said(subject string, kind eventlog.Type, payload any) {
	w.t.Helper()
	d, err := eventlog.NewDraft(subject, kind, time.Unix(int64(w.last), 0), payload)
	if err != nil {
		w.t.Fatal(err)
	}
	w.append("other", Event{ID: newID(), Draft: d})
}

// move is a device's agent that talks to the new log.
func (w *world) move(id string, labels map[string]string) {
	w.said(eventlog.InfoSubject(id), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: id, Labels: labels})
}

// operate is an operator that runs for a while: it makes the Devices, and records their
// labels. persons are labels that persons set meanwhile.
func (w *world) operate(persons map[string]map[string]string) {
	w.t.Helper()
	for _, id := range slices.Sorted(maps.Keys(w.target.View.Devices)) {
		d := w.target.View.Devices[id]
		if d.Info == nil {
			continue // an operator makes no Device of it
		}
		if w.crs[id] == nil {
			w.crs[id] = map[string]string{}
			for k, l := range d.Labels {
				if l.Owner != eventlog.OwnerDevice {
					w.crs[id][k] = l.Value
				}
			}
		}
		maps.Copy(w.crs[id], persons[id])
		owned := map[string]eventlog.OwnedLabel{}
		for k, v := range w.selecting(id) {
			owned[k] = eventlog.OwnedLabel{Value: v, Owner: eventlog.OwnerDevice}
			if _, ok := w.crs[id][k]; ok {
				owned[k] = eventlog.OwnedLabel{Value: v, Owner: "kubectl"}
			}
		}
		w.said(eventlog.DeviceSubject(id), eventlog.DeviceRelabeled, eventlog.Labels{Labels: owned})
	}
}

// own is an operator that finds a custom resource of the Deployment, with this selector,
// or that of the log.
func (w *world) own(sel *eventlog.Selector) {
	spec := w.web().Spec
	spec.UID, spec.Generation = "uid", 1
	if sel != nil {
		spec.Selector = *sel
	}
	w.said(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentApplied, spec)
}

// selecting are the labels by which the next operator will select a device: those of the
// Device that is in the cluster, or of the one that it makes.
func (w *world) selecting(id string) map[string]string {
	out := map[string]string{}
	d := w.target.View.Devices[id]
	if d.Info != nil {
		maps.Copy(out, d.Info.Labels)
	}
	if persons, there := w.crs[id]; there {
		maps.Copy(out, persons)
	} else {
		for k, l := range d.Labels {
			if l.Owner != eventlog.OwnerDevice {
				out[k] = l.Value
			}
		}
	}
	out[v1alpha1.LabelDevice] = id
	return out
}

// plan is what an import would do.
func (w *world) plan() Plan {
	s := Source{Origin: "origin", Read: time.Unix(1e6, 0)}
	for _, k := range slices.Sorted(maps.Keys(w.source)) {
		s.Entries = append(s.Entries, w.source[k])
	}
	return NewPlan(s, w.target, Options{Namespace: "shop", Actor: "ada", Now: time.Unix(1e6, 0)})
}

// run is an import.
func (w *world) run() Plan {
	w.t.Helper()
	p := w.plan()
	ids := map[string]bool{}
	for _, e := range p.Events {
		if ids[e.ID] || w.target.Imported[e.ID] {
			w.t.Fatalf("two events have the id %s: %s on %s", e.ID, e.Draft.Type, e.Draft.Subject)
		}
		ids[e.ID] = true
		w.append(EventSource, e)
	}
	return p
}

func (w *world) web() *fleet.Deployment {
	return w.target.View.Deployments[fleet.Key{Namespace: "shop", Name: "web"}]
}

// has says whether the log gives the Deployment to a device.
func (w *world) has(id string) bool {
	p := w.target.View.Devices[id].Pair("web")
	return p != nil && p.Deployment != nil
}

// check fails where the next operator would withdraw the Deployment from a device that has
// it, or give it to another.
func (w *world) check() {
	w.t.Helper()
	if w.web() == nil || w.web().Lifecycle == fleet.Deleted {
		return
	}
	for id, d := range w.target.View.Devices {
		if d.Info == nil {
			continue // it gets no Device, so nothing is decided about it
		}
		if got := selectors.Selects(w.web().Spec.Selector, w.selecting(id)); got != w.has(id) {
			w.t.Fatalf("device %s with labels %v: assigned %v, selected %v by %s", id, w.selecting(id), w.has(id), got, selectors.SelectorText(w.web().Spec.Selector))
		}
	}
}

func (w *world) refuses(p Plan, want map[string]Reason) {
	w.t.Helper()
	got := map[string]Reason{}
	for _, f := range p.Refused {
		got[f.Key] = f.Reason
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("refused (-want +got):\n%s", diff)
	}
}

func lab() map[string]string { return map[string]string{"site": "lab"} }
