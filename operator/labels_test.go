package operator_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
)

func (w *world) cr(id string) *v1alpha1.Device {
	w.t.Helper()
	var d *v1alpha1.Device
	eventually(w.t, "Device "+id, func() string {
		var err error
		if d, err = w.fleet.FleetV1alpha1().Devices().Get(w.t.Context(), id, metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	return d
}

// shows waits for a Device to have just these labels, beside its own.
func (w *world) shows(id string, labels map[string]string) *v1alpha1.Device {
	w.t.Helper()
	want := map[string]string{v1alpha1.LabelDevice: id}
	for k, v := range labels {
		want[k] = v
	}
	var d *v1alpha1.Device
	eventually(w.t, "labels of "+id, func() string {
		d = w.cr(id)
		return cmp.Diff(want, d.Labels)
	})
	return d
}

// label does what `kubectl label --overwrite` does; a nil value removes.
func (w *world) label(id, key string, value *string, manager string) {
	w.t.Helper()
	b, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]*string{key: value}}})
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.fleet.FleetV1alpha1().Devices().Patch(w.t.Context(), id, types.MergePatchType, b, metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) assigned(device, name string, yes bool) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%s on %s: %v", name, device, yes), func() string {
		if got := w.desired(device+"."+name) != ""; got != yes {
			return fmt.Sprintf("assigned %v", got)
		}
		return ""
	})
}

func TestAPersonsLabelWinsAndTheReportedOneComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	pi := w.device("pi-01", map[string]string{"site": "lab", "rack": "7", "restricted.fleet.nationtech.io/pool": "gold", "bad key!": "x", "zone": "not valid!"})
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.assigned("pi-01", "web", true)
	w.shows("pi-01", map[string]string{"site": "lab", "rack": "7"})

	other := "other"
	w.label("pi-01", "site", &other, "kubectl-label")
	w.assigned("pi-01", "web", false)
	pi.labels["rack"] = "8"
	pi.info()
	w.shows("pi-01", map[string]string{"site": "other", "rack": "8"})
	want := []v1alpha1.LabelConflict{
		{Key: "bad key!", Reported: "x", Manager: "fleet-operator"},
		{Key: "restricted.fleet.nationtech.io/pool", Reported: "gold", Manager: "fleet-operator"},
		{Key: "site", Reported: "lab", Kept: "other", Manager: "kubectl-label"},
		{Key: "zone", Reported: "not valid!", Manager: "fleet-operator"},
	}
	eventually(t, "the conflicts in the status", func() string { return cmp.Diff(want, w.cr("pi-01").Status.LabelConflicts) })
	eventually(t, "the reported labels in the status", func() string { return cmp.Diff(pi.labels, w.cr("pi-01").Status.ReportedLabels) })

	w.label("pi-01", "site", nil, "kubectl-label")
	w.assigned("pi-01", "web", true)
	w.shows("pi-01", map[string]string{"site": "lab", "rack": "8"})
	eventually(t, "no conflict any more", func() string {
		for _, c := range w.cr("pi-01").Status.LabelConflicts {
			if c.Key == "site" {
				return fmt.Sprintf("%+v", c)
			}
		}
		return ""
	})

	delete(pi.labels, "rack")
	pi.info()
	w.shows("pi-01", map[string]string{"site": "lab"})
	gold := "gold"
	w.label("pi-01", "restricted.fleet.nationtech.io/pool", &gold, "kubectl-label")
	w.shows("pi-01", map[string]string{"site": "lab", "restricted.fleet.nationtech.io/pool": "gold"})
	another := "another"
	w.label("pi-01", v1alpha1.LabelDevice, &another, "kubectl-label")
	w.shows("pi-01", map[string]string{"site": "lab", "restricted.fleet.nationtech.io/pool": "gold"})

	var owners map[string]eventlog.OwnedLabel
	for e, err := range reader.Read(t.Context(), w.js, reader.Options{}) {
		if err == nil && e.Type == eventlog.DeviceRelabeled {
			l, err := eventlog.Payload[eventlog.Labels](e)
			if err != nil {
				t.Fatal(err)
			}
			owners = l.Labels
		}
	}
	if diff := cmp.Diff(eventlog.OwnedLabel{Value: "lab", Owner: "device"}, owners["site"]); diff != "" {
		t.Errorf("the owner of site in the log (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(eventlog.OwnedLabel{Value: "gold", Owner: "kubectl-label"}, owners["restricted.fleet.nationtech.io/pool"]); diff != "" {
		t.Errorf("the owner of the pool in the log (-want +got):\n%s", diff)
	}
}

func TestADeletedDeviceComesBackWithPersonsLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	pool := "gold"
	w.shows("pi-01", map[string]string{"site": "lab"})
	w.label("pi-01", "pool", &pool, "kubectl-label")
	other := "other"
	w.label("pi-01", "site", &other, "kubectl-label")
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "other", "pool": "gold"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	for _, how := range []string{"while the operator runs", "while it is down"} {
		if how == "while it is down" {
			op.stop()
		}
		before := w.cr("pi-01").UID
		if err := w.fleet.FleetV1alpha1().Devices().Delete(t.Context(), "pi-01", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if how == "while it is down" {
			op = w.operate()
		}
		d := w.shows("pi-01", map[string]string{"site": "other", "pool": "gold"})
		eventually(t, "the owners, "+how, func() string {
			d = w.cr("pi-01")
			if d.UID == before {
				return "not deleted yet"
			}
			if d.Annotations["fleet.nationtech.io/restoring-labels"] != "" {
				return "still being restored"
			}
			return cmp.Diff([]v1alpha1.LabelConflict{{Key: "site", Reported: "lab", Kept: "other", Manager: "kubectl-label"}}, d.Status.LabelConflicts)
		})
	}
	w.label("pi-01", "site", nil, "kubectl-label")
	w.shows("pi-01", map[string]string{"site": "lab", "pool": "gold"})
	w.assigned("pi-01", "web", false)
	got := w.told(eventlog.FamilyDesired)
	if diff := cmp.Diff([]string{"desired.assigned pi-01 /web", "desired.withdrawn pi-01 /web"}, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}

func TestRegisteredLabelsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	w.shows("pi-01", map[string]string{"site": "lab"})
	op.stop()
	w.operate(func(o *operator.Options) { o.DeviceLabels = operator.LabelsRegistered; o.Identity = "op-2" })
	w.shows("pi-01", nil)
	eventually(t, "the reported labels in the status", func() string {
		return cmp.Diff(map[string]string{"site": "lab"}, w.cr("pi-01").Status.ReportedLabels)
	})
	lab := "lab"
	w.label("pi-01", "site", &lab, "kubectl-label")
	w.shows("pi-01", map[string]string{"site": "lab"})
}
