package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/v1alpha1"
)

// HasFinalizer says whether our finalizer holds a Deployment, so that its end cannot
// be missed.
func HasFinalizer(d *v1alpha1.Deployment) bool {
	return slices.Contains(d.Finalizers, v1alpha1.FinalizerWithdraw)
}

// patchOp is one operation of a JSON patch (RFC 6902).
type patchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// AddFinalizer puts our finalizer on a Deployment. The patch holds only for the object
// as it was seen; on another it fails with a conflict, and the next look at it
// tries again.
func AddFinalizer(ctx context.Context, c versioned.Interface, d *v1alpha1.Deployment) error {
	ops := []patchOp{ofVersion(d)}
	if len(d.Finalizers) == 0 {
		ops = append(ops, patchOp{Op: "add", Path: "/metadata/finalizers", Value: []string{v1alpha1.FinalizerWithdraw}})
	} else {
		ops = append(ops, patchOp{Op: "add", Path: "/metadata/finalizers/-", Value: v1alpha1.FinalizerWithdraw})
	}
	return patchDeployment(ctx, c, d, "guard", ops)
}

// RemoveFinalizer takes our finalizer off, so that the Deployment goes.
func RemoveFinalizer(ctx context.Context, c versioned.Interface, d *v1alpha1.Deployment) error {
	i := slices.Index(d.Finalizers, v1alpha1.FinalizerWithdraw)
	if i < 0 {
		return nil
	}
	return patchDeployment(ctx, c, d, "release", []patchOp{
		ofVersion(d), {Op: "remove", Path: fmt.Sprintf("/metadata/finalizers/%d", i)},
	})
}

// ofVersion sets the version that was seen, so that the API server refuses the patch
// with a conflict where the object has another by now.
func ofVersion(d *v1alpha1.Deployment) patchOp {
	return patchOp{Op: "replace", Path: "/metadata/resourceVersion", Value: d.ResourceVersion}
}

func patchDeployment(ctx context.Context, c versioned.Interface, d *v1alpha1.Deployment, verb string, ops []patchOp) error {
	b, err := json.Marshal(ops)
	if err != nil {
		return fmt.Errorf("%s Deployment %s/%s: %w", verb, d.Namespace, d.Name, err)
	}
	_, err = c.FleetV1alpha1().Deployments(d.Namespace).Patch(ctx, d.Name, types.JSONPatchType, b, metav1.PatchOptions{FieldManager: FieldManager})
	if err != nil {
		return fmt.Errorf("%s Deployment %s/%s: %w", verb, d.Namespace, d.Name, err)
	}
	return nil
}

// DeviceHasFinalizer says whether our finalizer holds a Device, so that its deletion
// cannot be missed.
func DeviceHasFinalizer(d *v1alpha1.Device) bool {
	return slices.Contains(d.Finalizers, v1alpha1.FinalizerDevice)
}

// RemoveFinalizer takes our finalizer off a Device, so that it goes.
func (d Devices) RemoveFinalizer(ctx context.Context, cr *v1alpha1.Device) error {
	i := slices.Index(cr.Finalizers, v1alpha1.FinalizerDevice)
	if i < 0 {
		return nil
	}
	b, err := json.Marshal([]patchOp{
		{Op: "replace", Path: "/metadata/resourceVersion", Value: cr.ResourceVersion}, // a conflict where it has another by now
		{Op: "remove", Path: fmt.Sprintf("/metadata/finalizers/%d", i)},
	})
	if err != nil {
		return fmt.Errorf("release Device %s: %w", cr.Name, err)
	}
	if _, err := d.Client.FleetV1alpha1().Devices().Patch(ctx, cr.Name, types.JSONPatchType, b, metav1.PatchOptions{FieldManager: FieldManager}); err != nil {
		return fmt.Errorf("release Device %s: %w", cr.Name, err)
	}
	return nil
}
