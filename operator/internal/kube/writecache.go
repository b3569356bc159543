package kube

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/crds/yamljson"
)

// Object is a custom resource: a pointer to its struct.
type Object interface {
	comparable
	metav1.Object
}

// StatusClient writes the statuses of one kind in one namespace, as a generated
// client does.
type StatusClient[T Object] interface {
	Patcher[T]
	UpdateStatus(ctx context.Context, o T, opts metav1.UpdateOptions) (T, error)
}

// Kind is what tells one kind of custom resource from another. S is its status.
type Kind[T Object, S any] struct {
	Name       string
	Client     func(namespace string) StatusClient[T]
	Status     func(T) S
	WithStatus func(T, S) T // a copy of the object
}

// WriteCache remembers, for one kind, what the API answered to the operator's own
// writes until the watch shows it: the watch may lag, and must not make the operator
// write things twice. It is safe for concurrent use.
type WriteCache[T Object, S any] struct {
	kind Kind[T, S]

	mu      sync.Mutex
	written map[types.NamespacedName]T
	foreign map[types.NamespacedName]bool // our last apply left what others wrote into the status
}

// NewWriteCache makes an empty cache.
func NewWriteCache[T Object, S any](kind Kind[T, S]) *WriteCache[T, S] {
	return &WriteCache[T, S]{kind: kind, written: map[types.NamespacedName]T{}, foreign: map[types.NamespacedName]bool{}}
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// Remember takes what the API answered to a write.
func (c *WriteCache[T, S]) Remember(answer T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written[nameOf(answer)] = answer
}

// Forget drops what the API answered: the object is to be deleted.
func (c *WriteCache[T, S]) Forget(name types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.written, name)
}

// Gone drops all that is known of an object that was deleted.
func (c *WriteCache[T, S]) Gone(name types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.written, name)
	delete(c.foreign, name)
}

// Ours says whether a version of an object is what the API answered to our last write.
func (c *WriteCache[T, S]) Ours(o T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.written[nameOf(o)]
	return ok && w.GetUID() == o.GetUID() && w.GetResourceVersion() == o.GetResourceVersion()
}

// Newest is the later of what the watch showed (nil: nothing) and what the API
// answered to our own write. It drops the answer once the watch has shown it.
func (c *WriteCache[T, S]) Newest(name types.NamespacedName, watched T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.written[name]
	if !ok {
		return watched
	}
	var none T
	if watched == none {
		delete(c.written, name)
		return w
	}
	if w.GetUID() == watched.GetUID() {
		if order, err := resourceversion.CompareResourceVersion(w.GetResourceVersion(), watched.GetResourceVersion()); err == nil && order > 0 {
			return w
		}
	}
	delete(c.written, name)
	return watched
}

// WriteStatus writes an object's status, and remembers the answer. It applies the
// status; where our last apply left fields that others wrote, it replaces the status
// whole. left says that such fields are there now, so that the status is to be
// written again.
func (c *WriteCache[T, S]) WriteStatus(ctx context.Context, o T, s S) (replaced, left bool, err error) {
	name := nameOf(o)
	c.mu.Lock()
	replace := c.foreign[name]
	c.mu.Unlock()
	answer, err := c.send(ctx, o, s, replace)
	if err != nil {
		return replace, false, err
	}
	left = !replace && !equality.Semantic.DeepEqual(s, c.kind.Status(answer))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written[name] = answer
	if delete(c.foreign, name); left {
		c.foreign[name] = true
	}
	return replace, left, nil
}

// send applies a status. An apply leaves the fields that others wrote and that this
// status does not have; replace takes those away as well.
func (c *WriteCache[T, S]) send(ctx context.Context, o T, s S, replace bool) (T, error) {
	client := c.kind.Client(o.GetNamespace())
	if replace {
		whole := c.kind.WithStatus(o, s)
		whole.SetManagedFields(nil)
		return client.UpdateStatus(ctx, whole, metav1.UpdateOptions{FieldManager: FieldManager})
	}
	b, err := yamljson.Marshal(statusPatch[S]{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: c.kind.Name,
		Metadata: statusMetadata{Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID()}, Status: s,
	})
	if err != nil {
		var none T
		return none, err
	}
	force := true
	return client.Patch(ctx, o.GetName(), types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: FieldManager, Force: &force}, "status")
}

type statusPatch[S any] struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   statusMetadata `json:"metadata"`
	Status     S              `json:"status"`
}

type statusMetadata struct {
	Name      string    `json:"name"`
	Namespace string    `json:"namespace,omitempty"`
	UID       types.UID `json:"uid"`
}
