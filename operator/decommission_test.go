package operator_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
)

// says appends an event as a person with fleetctl does.
func (w *world) says(subject string, typ eventlog.Type, payload any) {
	w.t.Helper()
	d, err := eventlog.NewDraft(subject, typ, time.Now(), payload)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := appender.Unfenced(w.t.Context(), w.js, "test", d); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) requestDecommission(id string) {
	w.t.Helper()
	w.says(eventlog.DeviceRequestSubject("alice", id), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestDecommission, Reason: "sold"})
}

func (w *world) allow(id string) {
	w.t.Helper()
	w.says(eventlog.DeviceRequestSubject("alice", id), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestAllow, Reason: "repaired"})
	eventually(w.t, "the operator allows "+id, func() string {
		said := w.told(eventlog.FamilyAccess)
		if slices.Contains(said, "access.allowed "+id) {
			return ""
		}
		return fmt.Sprint(said)
	})
}

// gone waits until a device has no object.
func (w *world) gone(id string) {
	w.t.Helper()
	eventually(w.t, "Device "+id+" is gone", func() string {
		d, err := w.fleet.FleetV1alpha1().Devices().Get(w.t.Context(), id, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprintf("%v, deleted at %v, finalizers %v", err, d.DeletionTimestamp, d.Finalizers)
	})
}

// keys waits until the buckets have just these keys of a device, delete markers
// left out.
func (w *world) keys(id string, want ...string) {
	w.t.Helper()
	eventually(w.t, "the keys of "+id, func() string {
		got := []string{}
		for bucket, key := range map[string]string{
			eventlog.BucketDesired: eventlog.DesiredKey(id, "*"), eventlog.BucketState: eventlog.StateKey(id, "*"),
			eventlog.BucketInfo: eventlog.InfoKey(id), eventlog.BucketHeartbeat: eventlog.HeartbeatKey(id),
		} {
			kv, err := w.js.KeyValue(w.t.Context(), bucket)
			if err != nil {
				return err.Error()
			}
			l, err := kv.ListKeysFiltered(w.t.Context(), key)
			if err != nil {
				return err.Error()
			}
			for k := range l.Keys() {
				got = append(got, bucket+" "+k)
			}
		}
		sorted := func(ks []string) map[string]bool {
			m := map[string]bool{}
			for _, k := range ks {
				m[k] = true
			}
			return m
		}
		return cmp.Diff(sorted(want), sorted(got))
	})
}

// beats has a device pulse until its bucket keeps that.
func (w *world) beats(d *device) {
	w.t.Helper()
	eventually(w.t, d.id+" has a heartbeat", func() string {
		d.pulse()
		kv, err := w.js.KeyValue(w.t.Context(), eventlog.BucketHeartbeat)
		if err == nil {
			_, err = kv.Get(w.t.Context(), eventlog.HeartbeatKey(d.id))
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
}

// synced is what a device gets that asks for its desired state: each Deployment,
// and whether it is a withdrawal.
func (w *world) synced(id string) map[string]bool {
	w.t.Helper()
	got := map[string]bool{}
	eventually(w.t, "the sync of "+id, func() string {
		clear(got)
		inbox := w.nc.NewInbox()
		sub, err := w.nc.SubscribeSync(inbox)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = sub.Unsubscribe() }()
		q := nats.NewMsg(eventlog.SyncSubject(id))
		q.Reply = inbox
		q.Header.Set(eventlog.HeaderSync, "a-question")
		if err := w.nc.PublishMsg(q); err != nil {
			return err.Error()
		}
		for {
			m, err := sub.NextMsg(5 * time.Second)
			if err != nil {
				return err.Error()
			}
			key := m.Header.Get(eventlog.HeaderKey)
			if key == "" {
				if len(got) == 0 {
					return fmt.Sprintf("%v %s", m.Header, m.Data)
				}
				return ""
			}
			got[key] = m.Header.Get(eventlog.HeaderKVOperation) == "DEL"
		}
	})
	return got
}

func TestADeviceIsDecommissionedAndComesBackOnlyOnceItIsAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	site := map[string]string{"site": "lab"}
	pi := w.device("pi-01", site)
	w.device("pi-02", site)
	ns := w.api.Namespace(t)
	for _, name := range []string{"web", "db"} {
		w.apply(deployment(ns, name, "app:1", site))
		w.ready(ns, name, v1alpha1.ReasonAllSucceeded)
	}
	pi.mute.Store(true) // it is scrapped: it says no more, and takes nothing down
	pi.report("web", eventlog.PhaseFailed, "", "disk")
	eventually(t, "a change of web", func() string { // which its status may get in the way of
		d := w.deployment(ns, "web")
		d.Spec.Score = deployment(ns, "web", "app:2", nil).Spec.Score
		if _, err := w.fleet.FleetV1alpha1().Deployments(ns).Update(t.Context(), d, metav1.UpdateOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	w.ready(ns, "web", v1alpha1.ReasonProgressing)
	w.beats(pi) // the first pulse may have come before anybody kept it
	w.keys("pi-01", "desired-state pi-01.web", "desired-state pi-01.db", "device-state state.pi-01.web", "device-state state.pi-01.db",
		"device-info info.pi-01", "device-heartbeat heartbeat.pi-01")

	op.stop() // the request waits in the log
	w.requestDecommission("pi-01")
	w.requestDecommission("pi-01")
	op = w.operate()
	w.gone("pi-01")
	w.keys("pi-01")
	for _, name := range []string{"web", "db"} {
		eventually(t, name+" is on the other device alone", func() string { // before, all of both had succeeded
			if a := w.ready(ns, name, v1alpha1.ReasonAllSucceeded).Status.Aggregate; a.MatchedDeviceCount != 1 || a.Succeeded != 1 {
				return fmt.Sprintf("%+v", a)
			}
			return ""
		})
	}
	if diff := cmp.Diff(map[string]bool{"pi-01.web": true, "pi-01.db": true}, w.synced("pi-01")); diff != "" {
		t.Errorf("a sync of the device that left (-want +got):\n%s", diff)
	}

	// It is not scrapped after all: it pulses and reports as before.
	pi.pulse()
	pi.info()
	pi.report("web", eventlog.PhaseRunning, "", "")
	pi.report("never-assigned", eventlog.PhaseRunning, "", "")
	w.apply(deployment(ns, "new", "app:1", site))
	w.ready(ns, "new", v1alpha1.ReasonAllSucceeded)
	w.keys("pi-01")
	w.beats(pi)
	w.keys("pi-01", "device-heartbeat heartbeat.pi-01") // it is alive, and the bucket says so
	w.gone("pi-01")
	eventually(t, "its reports are counted as foreign", func() string {
		if n := op.metric(t, "fleet_operator_foreign_messages_total"); n != 3 {
			return fmt.Sprint(n)
		}
		return ""
	})
	op.gauge(t, "fleet_operator_devices", 1)

	// A person's Device of the id does not bring it back either.
	b := []byte(`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Device","metadata":{"name":"pi-01","labels":{"site":"lab","fleet.nationtech.io/device":"pi-01"}}}`)
	if _, err := w.fleet.FleetV1alpha1().Devices().Patch(t.Context(), "pi-01", types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: "kubectl"}); err != nil {
		t.Fatal(err)
	}
	w.gone("pi-01")

	w.allow("pi-01")
	pi.mute.Store(false)
	pi.info()
	w.shows("pi-01", site)
	for _, name := range []string{"web", "db", "new"} {
		w.assigned("pi-01", name, true)
		eventually(t, name+" runs on both", func() string {
			a := w.deployment(ns, name).Status.Aggregate
			if a == nil || a.Succeeded != 2 {
				return fmt.Sprintf("%+v", a)
			}
			return ""
		})
	}
	got := map[string]int{}
	for _, s := range w.told(eventlog.FamilyDevice) {
		got[s]++
	}
	if got["device.decommissioned pi-01"] != 1 || got["device.registered pi-01"] != 2 || got["device.registered pi-02"] != 1 {
		t.Errorf("the log has %v", got)
	}
}

// annotate says on a Device what its deletion means.
func (w *world) annotate(id, value string) {
	w.t.Helper()
	b, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1alpha1.AnnotationOnDelete: value}}})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.fleet.FleetV1alpha1().Devices().Patch(w.t.Context(), id, types.MergePatchType, b, metav1.PatchOptions{FieldManager: "kubectl-annotate"}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(id string) {
	w.t.Helper()
	if err := w.fleet.FleetV1alpha1().Devices().Delete(w.t.Context(), id, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func TestADeletedDeviceReturnsUnlessItSaysThatItLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	site := map[string]string{"site": "lab"}
	w.device("pi-01", site)
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", site))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)

	before := w.shows("pi-01", site)
	w.delete("pi-01")
	eventually(t, "another Device", func() string {
		d := w.cr("pi-01")
		if d.UID == before.UID {
			return "the same"
		}
		return cmp.Diff([]string{v1alpha1.FinalizerDevice}, d.Finalizers)
	})
	w.warned("DeviceReturns", "fleetctl device decommission pi-01")
	w.assigned("pi-01", "web", true)
	if got := w.told(eventlog.FamilyDesired); len(got) != 1 {
		t.Errorf("to delete a Device told the device something: %v", got)
	}

	op.stop() // its finalizer holds the Device until somebody has seen its deletion
	w.annotate("pi-01", v1alpha1.OnDeleteDecommission)
	w.delete("pi-01")
	if d := w.cr("pi-01"); d.DeletionTimestamp == nil {
		t.Error("it is not held")
	}
	w.operate()
	w.gone("pi-01")
	w.assigned("pi-01", "web", false)
	w.ready(ns, "web", v1alpha1.ReasonNoDeviceMatches)
	if got := w.told(eventlog.FamilyDevice); got[len(got)-1] != "device.decommissioned pi-01" {
		t.Errorf("the log has %v", got)
	}
	w.keys("pi-01")
}

// A log that never heard of a device, because it is new or another, holds nothing up.
func TestADeletedDeviceThatTheLogDoesNotKnowGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	b := []byte(`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Device","metadata":{"name":"pi-09","finalizers":["` + v1alpha1.FinalizerDevice + `"]}}`)
	if _, err := w.fleet.FleetV1alpha1().Devices().Patch(t.Context(), "pi-09", types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: "fleet-operator"}); err != nil {
		t.Fatal(err)
	}
	w.delete("pi-09")
	w.gone("pi-09")
}
