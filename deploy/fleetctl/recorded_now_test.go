package fleetctl_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/status"
)

// gotten is what get prints of now.
type gotten struct {
	Items []json.RawMessage `json:"items"`
}

type gottenDevice struct {
	v1alpha1.Device
	Status struct {
		v1alpha1.DeviceStatus
		OnDevice []struct {
			Namespace, Name, Standing string
			Phase                     eventlog.Phase
			Reason, Error             string
			Revision                  uint64
			ReportedRevision          uint64
		} `json:"onDevice"`
	} `json:"status"`
}

func items[T any](t *testing.T, text string) []T {
	t.Helper()
	var g gotten
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		t.Fatal(err)
	}
	out := make([]T, len(g.Items))
	for i, raw := range g.Items {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (r *recording) nowIsWhatKubernetesAndTheBucketsSay() {
	t := r.t
	// A status is patched at most once a second, so Kubernetes is waited for.
	eventually(t, "get and Kubernetes say the same", func() string {
		deployments := items[v1alpha1.Deployment](t, r.fleetctl("get", "deployments", "-A", "-o", "json"))
		devices := items[gottenDevice](t, r.fleetctl("get", "devices", "-o", "json"))
		return r.unlikeKubernetes(deployments, devices)
	})
	deployments := items[v1alpha1.Deployment](t, r.fleetctl("get", "deployments", "-A", "-o", "json"))
	devices := items[gottenDevice](t, r.fleetctl("get", "devices", "-o", "json"))
	if len(deployments) != 2 || len(devices) != 4 {
		t.Fatalf("%d Deployments and %d devices, want 2 and 4", len(deployments), len(devices))
	}
	r.likeTheBuckets(deployments, devices)
}

// plainJSON is what a value says, whatever the order of its fields.
func plainJSON(t *testing.T, v any) (out any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// withoutTimes leaves out of a list of conditions what Kubernetes alone knows: when
// each last turned, and the generation of a Device.
func withoutTimes(kind string, cs []metav1.Condition) []metav1.Condition {
	cs = slices.Clone(cs)
	for i := range cs {
		cs[i].LastTransitionTime = metav1.Time{}
		if kind == "Device" {
			cs[i].ObservedGeneration = 0
		}
	}
	slices.SortFunc(cs, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
	return cs
}

func (r *recording) unlikeKubernetes(deployments []v1alpha1.Deployment, devices []gottenDevice) string {
	t := r.t
	type deployment struct {
		Name                 string
		UID                  types.UID
		Generation, Revision int64
		Spec                 any
		Aggregate            *v1alpha1.DeploymentAggregate
		Conditions           []metav1.Condition
	}
	type device struct {
		Name, AgentVersion string
		Inventory          *v1alpha1.InventorySnapshot
		Site               string
		Deployments        *v1alpha1.DeviceDeployments
		Conditions         []metav1.Condition
	}
	ofDeployment := func(d v1alpha1.Deployment) deployment {
		return deployment{d.Namespace + "/" + d.Name, d.UID, d.Generation, d.Status.Revision, plainJSON(t, d.Spec), d.Status.Aggregate, withoutTimes("Deployment", d.Status.Conditions)}
	}
	ofDevice := func(d v1alpha1.Device, s v1alpha1.DeviceStatus) device {
		return device{d.Name, s.AgentVersion, d.Spec.Inventory, d.Labels["site"], s.Deployments, withoutTimes("Device", s.Conditions)}
	}
	var want, got struct {
		Deployments []deployment
		Devices     []device
	}
	ds, err := r.fleet.FleetV1alpha1().Deployments("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, d := range ds.Items {
		want.Deployments = append(want.Deployments, ofDeployment(d))
	}
	devs, err := r.fleet.FleetV1alpha1().Devices().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, d := range devs.Items {
		want.Devices = append(want.Devices, ofDevice(d, d.Status))
	}
	for _, d := range deployments {
		got.Deployments = append(got.Deployments, ofDeployment(d))
	}
	for _, d := range devices {
		got.Devices = append(got.Devices, ofDevice(d.Device, d.Status.DeviceStatus))
	}
	return cmp.Diff(want, got)
}

// bucket reads all of one, by its keys, as any KV client does.
func (r *recording) bucket(name string) map[string]string {
	r.t.Helper()
	kv, err := r.js.KeyValue(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	keys, err := kv.Keys(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]string{}
	for _, k := range keys {
		v, err := kv.Get(r.t.Context(), k)
		if err != nil {
			r.t.Fatal(err)
		}
		out[k] = string(v.Value())
	}
	return out
}

func (r *recording) likeTheBuckets(deployments []v1alpha1.Deployment, devices []gottenDevice) {
	t := r.t
	scores := map[string]string{}
	for _, d := range deployments {
		raw, err := json.Marshal(d.Spec.Score)
		if err != nil {
			t.Fatal(err)
		}
		s, err := eventlog.DecodeScore(raw)
		if err != nil {
			t.Fatal(err)
		}
		canonical, err := s.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		scores[d.Name] = string(canonical)
	}
	desired, reported, pulses, inventories := map[string]string{}, map[string]string{}, []string{}, map[string]v1alpha1.InventorySnapshot{}
	for _, d := range devices {
		for _, o := range d.Status.OnDevice {
			if o.Standing == "Assigned" {
				desired[eventlog.DesiredKey(d.Name, o.Name)] = scores[o.Name]
			}
			if o.Phase != "" {
				reported[eventlog.StateKey(d.Name, o.Name)] = fmt.Sprint(o.Phase, o.Reason, o.Error, o.ReportedRevision)
			}
		}
		pulses = append(pulses, eventlog.HeartbeatKey(d.Name))
		inventories[eventlog.InfoKey(d.Name)] = *d.Spec.Inventory
	}
	if diff := cmp.Diff(r.bucket(eventlog.BucketDesired), desired); diff != "" {
		t.Errorf("%s (-bucket +get):\n%s", eventlog.BucketDesired, diff)
	}
	states := map[string]string{}
	for k, v := range r.bucket(eventlog.BucketState) {
		var s eventlog.DeploymentState
		if err := json.Unmarshal([]byte(v), &s); err != nil {
			t.Fatal(err)
		}
		text := ""
		if s.LastError != nil {
			text = *s.LastError
		}
		states[k] = fmt.Sprint(s.Phase, s.Reason, text, s.Revision)
	}
	if diff := cmp.Diff(states, reported); diff != "" {
		t.Errorf("%s (-bucket +get):\n%s", eventlog.BucketState, diff)
	}
	infos := map[string]v1alpha1.InventorySnapshot{}
	for k, v := range r.bucket(eventlog.BucketInfo) {
		var i eventlog.DeviceInfo
		if err := json.Unmarshal([]byte(v), &i); err != nil {
			t.Fatal(err)
		}
		infos[k] = *status.Inventory(i.Inventory)
	}
	if diff := cmp.Diff(infos, inventories); diff != "" {
		t.Errorf("%s (-bucket +get):\n%s", eventlog.BucketInfo, diff)
	}
	slices.Sort(pulses)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(r.bucket(eventlog.BucketHeartbeat))), pulses); diff != "" {
		t.Errorf("%s (-bucket +get):\n%s", eventlog.BucketHeartbeat, diff)
	}
}
