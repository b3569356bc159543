package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Patcher patches objects of one kind in one namespace, as a generated client does.
type Patcher[T Object] interface {
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (T, error)
}

// HasFinalizer says whether a finalizer of ours holds an object, so that its end
// cannot be missed.
func HasFinalizer(o metav1.Object, finalizer string) bool {
	return slices.Contains(o.GetFinalizers(), finalizer)
}

// AddFinalizer puts a finalizer of ours on an object. The patch holds only for the
// version that was seen; on another it fails with a conflict.
func AddFinalizer[T Object](ctx context.Context, c Patcher[T], o T, finalizer string) error {
	add := patchOp{Op: "add", Path: "/metadata/finalizers/-", Value: finalizer}
	if len(o.GetFinalizers()) == 0 {
		add = patchOp{Op: "add", Path: "/metadata/finalizers", Value: []string{finalizer}}
	}
	if err := patch(ctx, c, o, add); err != nil {
		return fmt.Errorf("add finalizer %s to %s: %w", finalizer, nameOf(o), err)
	}
	return nil
}

// RemoveFinalizer takes a finalizer of ours off an object, so that the API server
// deletes it. The patch holds only for the version that was seen.
func RemoveFinalizer[T Object](ctx context.Context, c Patcher[T], o T, finalizer string) error {
	i := slices.Index(o.GetFinalizers(), finalizer)
	if i < 0 {
		return nil
	}
	if err := patch(ctx, c, o, patchOp{Op: "remove", Path: fmt.Sprintf("/metadata/finalizers/%d", i)}); err != nil {
		return fmt.Errorf("remove finalizer %s from %s: %w", finalizer, nameOf(o), err)
	}
	return nil
}

// patchOp is one operation of a JSON patch (RFC 6902).
type patchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patch sets the version that was seen as well, so that the API server refuses the
// patch with a conflict where the object has another by now.
func patch[T Object](ctx context.Context, c Patcher[T], o T, op patchOp) error {
	b, err := json.Marshal([]patchOp{{Op: "replace", Path: "/metadata/resourceVersion", Value: o.GetResourceVersion()}, op})
	if err != nil {
		return err
	}
	_, err = c.Patch(ctx, o.GetName(), types.JSONPatchType, b, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}
