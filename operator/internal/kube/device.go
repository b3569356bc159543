package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/crds/yamljson"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/status"
)

// Device is what the log knows of a device that its CR shows.
type Device struct {
	ID        string
	Inventory *eventlog.Inventory
	Reported  map[string]string
	// Remembered are the labels that selected when the log last said so.
	Remembered map[string]eventlog.OwnedLabel
}

// Devices writes the Device CRs, by server-side apply as FieldManager and never
// by force over a person's label.
type Devices struct {
	Client versioned.Interface
	Source LabelSource
}

// Reflect makes a CR show what the log knows, and creates it where it is
// missing. cached is the CR as last seen, nil for none. It returns the CR as it
// is then, the reported labels that do not select with who holds each, and
// whether it wrote anything.
func (d Devices) Reflect(ctx context.Context, cached *v1alpha1.Device, dev Device) (*v1alpha1.Device, []v1alpha1.LabelConflict, bool, error) {
	want, refused := take(dev.ID, dev.Reported, d.Source)
	wrote := false
	if cached == nil {
		created, err := d.create(ctx, dev, want)
		if err != nil {
			return nil, nil, false, err
		}
		cached, wrote = created, true
	}
	restoring, err := restoringOf(cached)
	if err != nil {
		return nil, nil, wrote, err
	}
	if len(restoring) > 0 {
		if cached, err = d.restore(ctx, cached, restoring); err != nil {
			return nil, nil, true, err
		}
		wrote = true
	}
	by, err := owners(cached.ManagedFields)
	if err != nil {
		return nil, nil, wrote, fmt.Errorf("Device %s: %w", dev.ID, err)
	}
	apply, conflicts := reconcile(cached, by, want)
	inventory := snapshot(dev.Inventory)
	if len(restoring) > 0 || !HasFinalizer(cached, v1alpha1.FinalizerDevice) || !d.shows(cached, apply, inventory) {
		var more []v1alpha1.LabelConflict
		if cached, more, err = d.apply(ctx, dev.ID, apply, nil, inventory); err != nil {
			return nil, nil, wrote, err
		}
		conflicts, wrote = append(conflicts, more...), true
	}
	return cached, fit(append(conflicts, refused...)), wrote, nil
}

// shows says whether a CR already says all that would be applied, and nothing
// more is owned.
func (d Devices) shows(cr *v1alpha1.Device, labels map[string]string, inventory *v1alpha1.InventorySnapshot) bool {
	var mine []string
	for _, e := range cr.ManagedFields {
		if e.Manager == FieldManager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" && e.FieldsV1 != nil {
			keys, err := labelsIn(e.FieldsV1)
			if err != nil {
				return false
			}
			mine = append(mine, keys...)
		}
	}
	slices.Sort(mine)
	if !slices.Equal(mine, slices.Sorted(maps.Keys(labels))) {
		return false
	}
	for k, v := range labels {
		if cr.Labels[k] != v {
			return false
		}
	}
	return equality.Semantic.DeepEqual(cr.Spec.Inventory, inventory)
}

// create makes a Device, with all the labels that selected when the log last
// said so at once: were a person's labels to come a moment later, Deployments
// would be withdrawn in between, because etcd was lost.
func (d Devices) create(ctx context.Context, dev Device, want map[string]string) (*v1alpha1.Device, error) {
	labels, restoring := maps.Clone(want), map[string]string{}
	for k, l := range dev.Remembered {
		if l.Owner != eventlog.OwnerDevice && l.Owner != FieldManager && k != v1alpha1.LabelDevice {
			labels[k], restoring[k] = l.Value, l.Owner
		}
	}
	var annotations map[string]string
	if len(restoring) > 0 {
		b, err := json.Marshal(restoring)
		if err != nil {
			return nil, fmt.Errorf("Device %s: %w", dev.ID, err)
		}
		annotations = map[string]string{annotationRestoring: string(b)}
	}
	cr, _, err := d.apply(ctx, dev.ID, labels, annotations, snapshot(dev.Inventory))
	return cr, err
}

// restore gives persons' labels back to their owners: each owner applies its
// own, with the values that are there. The operator's next apply lets go of
// them.
func (d Devices) restore(ctx context.Context, cr *v1alpha1.Device, restoring map[string]string) (*v1alpha1.Device, error) {
	byOwner := map[string]map[string]string{}
	for k, owner := range restoring {
		if v, ok := cr.Labels[k]; ok {
			if byOwner[owner] == nil {
				byOwner[owner] = map[string]string{}
			}
			byOwner[owner][k] = v
		}
	}
	for _, owner := range slices.Sorted(maps.Keys(byOwner)) {
		var err error
		if cr, err = d.patch(ctx, owner, false, object(cr.Name, cr.UID, byOwner[owner], nil, nil)); err != nil {
			return nil, fmt.Errorf("restore the labels of %s: %w", owner, err)
		}
	}
	return cr, nil
}

// apply applies as the operator. On a conflict it drops just the labels that
// somebody else holds, tells them, and tries again.
func (d Devices) apply(ctx context.Context, id string, labels, annotations map[string]string, inventory *v1alpha1.InventorySnapshot) (*v1alpha1.Device, []v1alpha1.LabelConflict, error) {
	labels = maps.Clone(labels)
	var conflicts []v1alpha1.LabelConflict
	force := false
	for {
		o := object(id, "", labels, annotations, inventory)
		o.Metadata.Finalizers = []string{v1alpha1.FinalizerDevice}
		cr, err := d.patch(ctx, FieldManager, force, o)
		if err == nil {
			for i := range conflicts {
				conflicts[i].Kept = cr.Labels[conflicts[i].Key]
			}
			return cr, conflicts, nil
		}
		held, ok := holders(err)
		if !ok || force {
			return nil, nil, err
		}
		dropped := false
		for key, manager := range held {
			if v, mine := labels[key]; mine && key != v1alpha1.LabelDevice {
				conflicts = append(conflicts, v1alpha1.LabelConflict{Key: key, Reported: v, Manager: manager})
				delete(labels, key)
				dropped = true
			}
		}
		// What is left in conflict is the operator's own: the inventory, and the
		// label that names the device.
		force = !dropped
	}
}

func (d Devices) patch(ctx context.Context, manager string, force bool, o any) (*v1alpha1.Device, error) {
	b, err := yamljson.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode Device: %w", err)
	}
	name := o.(deviceObject).Metadata.Name
	cr, err := d.Client.FleetV1alpha1().Devices().Patch(ctx, name, types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: manager, Force: &force})
	if err != nil {
		return nil, fmt.Errorf("apply Device %s: %w", name, err)
	}
	return cr, nil
}

// deviceObject is just the fields that an apply speaks of: what it leaves out it
// does not own.
type deviceObject struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   deviceMetadata `json:"metadata"`
	Spec       *deviceSpec    `json:"spec,omitempty"`
}

type deviceMetadata struct {
	Name        string            `json:"name"`
	UID         types.UID         `json:"uid,omitempty"` // refuses to make an absent one
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Finalizers  []string          `json:"finalizers,omitempty"`
}

type deviceSpec struct {
	Inventory *v1alpha1.InventorySnapshot `json:"inventory"`
}

func object(id string, uid types.UID, labels, annotations map[string]string, inventory *v1alpha1.InventorySnapshot) deviceObject {
	o := deviceObject{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Device",
		Metadata: deviceMetadata{Name: id, UID: uid, Labels: labels, Annotations: annotations},
	}
	if inventory != nil {
		o.Spec = &deviceSpec{Inventory: inventory}
	}
	return o
}

// holders reads a conflict: which labels are held, by whom. ok is false for
// another error.
func holders(err error) (map[string]string, bool) {
	var st apierrors.APIStatus
	if !apierrors.IsConflict(err) || !errors.As(err, &st) || st.Status().Details == nil {
		return nil, false
	}
	held := map[string]string{}
	found := false
	for _, c := range st.Status().Details.Causes {
		if c.Type != metav1.CauseTypeFieldManagerConflict {
			continue
		}
		found = true
		if key, ok := strings.CutPrefix(c.Field, ".metadata.labels."); ok {
			held[key] = quoted(c.Message)
		}
	}
	return held, found
}

// quoted is the first thing in quotes: `conflict with "kubectl-label" using …`.
func quoted(s string) string {
	_, rest, _ := strings.Cut(s, `"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// snapshot is a reported inventory; of a device that reported none all is unknown.
func snapshot(i *eventlog.Inventory) *v1alpha1.InventorySnapshot {
	if i == nil {
		i = &eventlog.Inventory{}
	}
	return status.Inventory(*i)
}
