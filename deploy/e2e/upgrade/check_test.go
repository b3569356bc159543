//go:build e2e

package upgrade_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/rollout/rollouttest"
	"fleet.nationtech.io/projections/verify"
)

// container is what Podman says of one.
type container struct {
	ID      string   `json:"Id"`
	Started int64    `json:"StartedAt"`
	State   string   `json:"State"`
	Names   []string `json:"Names"`
}

// containers are those of a Deployment, by name.
func (w *world) containers(deployment string) map[string]container {
	w.t.Helper()
	var list []container
	w.must(json.Unmarshal([]byte(w.podman.CLI("ps", "-a", "--format", "json")), &list))
	found := map[string]container{}
	for _, c := range list {
		if strings.Contains(c.Names[0], "-"+deployment+"-") {
			found[c.Names[0]] = c
		}
	}
	return found
}

// ready waits until the newest generation of a Deployment runs on so many devices.
func (w *world) ready(name string, devices int32) {
	w.t.Helper()
	w.eventually(name+" is ready", func(ctx context.Context) error {
		d, err := w.kube.FleetV1alpha1().Deployments(w.ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != d.Generation || d.Status.Aggregate == nil || d.Status.Aggregate.Succeeded != devices {
			return fmt.Errorf("generation %d, %+v, %+v", d.Generation, c, d.Status.Aggregate)
		}
		return nil
	})
}

// bothRead has the fleetctl of both releases verify the log, which each folds from its
// first event on, and show the fleet at one moment. What both know must be the same.
func (w *world) bothRead() {
	w.t.Helper()
	log, err := logstream.Inspect(w.t.Context(), w.js)
	w.must(err)
	at := strconv.FormatUint(log.Last, 10)
	var shown [2]any
	for i, r := range []release{w.old, w.new} {
		out, code := w.fleetctl(r, "verify", "-o", "json")
		var report verify.Report
		w.must(json.Unmarshal([]byte(out), &report))
		if code != 0 || report.Counts[verify.NumberRepeat] != 0 {
			w.t.Errorf("fleetctl verify of %s ends with %d: %s", r.version, code, out)
		}
		w.t.Logf("%s verifies %d messages, %d seals, %d checkpoints: %v", r.version, report.Messages, report.Seals.Held, report.Checkpoints, report.Counts)
		out, code = w.fleetctl(r, "get", "fleet", "-A", "-o", "json", "--at", at)
		if code != 0 {
			w.t.Fatalf("fleetctl get of %s ends with %d", r.version, code)
		}
		w.must(json.Unmarshal([]byte(out), &shown[i]))
	}
	if err := known(shown[0], shown[1], "fleet"); err != nil {
		w.t.Errorf("at %s the releases show another fleet: %v", at, err)
	}
}

// known says where of what the former release knows the newer one says something else.
// What the newer one says beside that, the former one does not know.
func known(former, newer any, path string) error {
	switch f := former.(type) {
	case map[string]any:
		n, ok := newer.(map[string]any)
		if !ok {
			return fmt.Errorf("%s was an object, and is %v", path, newer)
		}
		for _, key := range slices.Sorted(maps.Keys(f)) {
			if err := known(f[key], n[key], path+"."+key); err != nil {
				return err
			}
		}
	case []any:
		n, ok := newer.([]any)
		if !ok || len(n) != len(f) {
			return fmt.Errorf("%s was %v, and is %v", path, former, newer)
		}
		for i := range f {
			if err := known(f[i], n[i], fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	default:
		if former != newer {
			return fmt.Errorf("%s was %v, and is %v", path, former, newer)
		}
	}
	return nil
}

// check looks at the whole log, once the load is off.
func (w *world) check(l *load) {
	w.t.Helper()
	var log, ofGroups []eventlog.Event
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{}) {
		w.must(err)
		log = append(log, e)
		// The leader may give a device what its object's new label selects a moment before the
		// log learns of the label. The laws know labels by the log alone.
		if e.Address.Deployment != labelled && e.Address.Name != labelled {
			ofGroups = append(ofGroups, e)
		}
	}
	if err := rollouttest.CheckLog(ofGroups); err != nil {
		w.t.Errorf("the log breaks laws:\n%v", err)
	}
	ids, last := map[string]uint64{}, map[string]uint64{}
	given, told := map[string]int{}, map[string][]string{}
	for _, e := range log {
		if first, twice := ids[e.ID]; e.ID != "" && twice {
			w.t.Errorf("event %d is event %d again: %s %s", e.Sequence, first, e.Type, e.ID)
		}
		ids[e.ID] = e.Sequence
		switch {
		case e.Type == eventlog.DesiredAssigned:
			if last[e.Subject] == e.Revision {
				w.t.Errorf("event %d gives %s revision %d, which it has", e.Sequence, e.Subject, e.Revision)
			}
			last[e.Subject] = e.Revision
			given[fmt.Sprintf("%s %d", e.Address.Deployment, e.Revision)]++
		case e.Type == eventlog.DesiredWithdrawn:
			delete(last, e.Subject)
		case strings.HasPrefix(string(e.Type), "rollout."):
			told[e.Address.Name] = append(told[e.Address.Name], strings.TrimPrefix(string(e.Type), "rollout."))
		case e.Type == eventlog.DeploymentApplied:
			told[e.Address.Name] = append(told[e.Address.Name], "applied")
		}
	}
	for i, revisions := range l.revision {
		var want []string
		for r := range revisions {
			want = append(want, "applied", "started", "batch_succeeded", "batch_started", "batch_succeeded", "batch_started", "batch_succeeded", "completed")
			if n := given[fmt.Sprintf("%s %d", group(i), r+1)]; n != devicesEach {
				w.t.Errorf("revision %d of %s was given %d times to %d devices", r+1, group(i), n, devicesEach)
			}
		}
		if diff := cmp.Diff(want, told[group(i)]); diff != "" {
			w.t.Errorf("events of %s (-want +got):\n%s", group(i), diff)
		}
		if have := w.fleet.Have(fmt.Sprint(group(i), ":", revisions)); len(have) != devicesEach {
			w.t.Errorf("%d of %d devices were told the last revision of %s", len(have), devicesEach, group(i))
		}
	}
	w.t.Logf("%d events; %v changes and %d moves of a device", len(log), l.revision, l.moves)
}

// terms lists the versions of the leaders that the log had, each once for terms that
// follow each other.
func (w *world) terms() (versions []string) {
	w.t.Helper()
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: []string{eventlog.LeaderSubject}}) {
		w.must(err)
		leader, err := eventlog.Payload[eventlog.Leader](e)
		w.must(err)
		versions = append(versions, leader.Version)
	}
	return slices.Compact(versions)
}
