// Package apply makes a cluster's objects what they should be, by server-side apply
// as one field manager, and says what it changed.
package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// FieldManager owns the fields that fleetctl install writes.
const FieldManager = "fleet-install"

// Change is what became of an object.
type Change string

// What can become of an object.
const (
	Created   Change = "created"
	Changed   Change = "changed"
	Unchanged Change = "unchanged"
	Deleted   Change = "deleted"
	Absent    Change = "absent"
)

// Applier applies objects to one cluster.
type Applier struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
	// DryRun has the API server check each object, and store none.
	DryRun bool
	// Force takes fields over that another field manager owns.
	Force bool
}

// New makes an Applier for the cluster that config reaches.
func New(config *rest.Config) (*Applier, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	return &Applier{client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(found))}, nil
}

// Apply makes an object what it should be.
//
// Errors: *Conflict where another field manager owns a field; *Unserved where the
// cluster has no such kind; else what the API server says, with the object's name.
func (a *Applier) Apply(ctx context.Context, object *unstructured.Unstructured) (Change, error) {
	client, err := a.of(object)
	if err != nil {
		return "", err
	}
	before, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		before = nil
	case err != nil:
		return "", fmt.Errorf("%s: %w", Name(object), err)
	}
	after, err := a.patch(ctx, client, object, a.dryRun())
	switch {
	case a.DryRun && isNamespaceMissing(err): // it is made before, when this is no dry run
		return Created, nil
	case err != nil:
		return "", err
	case before == nil:
		return Created, nil
	case same(before, after):
		return Unchanged, nil
	}
	return Changed, nil
}

// Preview gives what Apply would make of an object, and makes nothing.
//
// Errors: those of Apply.
func (a *Applier) Preview(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	client, err := a.of(object)
	if err != nil {
		return nil, err
	}
	return a.patch(ctx, client, object, []string{metav1.DryRunAll})
}

func (a *Applier) patch(ctx context.Context, client dynamic.ResourceInterface, object *unstructured.Unstructured, dryRun []string) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name(object), err)
	}
	after, err := client.Patch(ctx, object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: FieldManager, Force: &a.Force, DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict,
	})
	switch {
	case apierrors.IsConflict(err):
		return nil, conflict(object, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", Name(object), err)
	}
	return after, nil
}

// same compares two states of an object, without what the API server keeps of its own
// and what controllers say in the status. The resource version does not tell: a dry run
// gives the one that is stored, and a controller may write meanwhile.
func same(a, b *unstructured.Unstructured) bool {
	bare := func(o *unstructured.Unstructured) *unstructured.Unstructured {
		o = o.DeepCopy()
		for _, field := range [][]string{{"metadata", "resourceVersion"}, {"metadata", "managedFields"}, {"metadata", "generation"}, {"status"}} {
			unstructured.RemoveNestedField(o.Object, field...)
		}
		return o
	}
	return equality.Semantic.DeepEqual(bare(a).Object, bare(b).Object)
}

// Create makes an object that is not there yet, and leaves one alone that is: what it
// holds is made once. It gives what is in the cluster afterwards.
func (a *Applier) Create(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, Change, error) {
	client, err := a.of(object)
	if err != nil {
		return nil, "", err
	}
	there, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
	switch {
	case err == nil:
		return there, Unchanged, nil
	case !apierrors.IsNotFound(err):
		return nil, "", fmt.Errorf("%s: %w", Name(object), err)
	}
	made, err := client.Create(ctx, object, metav1.CreateOptions{FieldManager: FieldManager, DryRun: a.dryRun()})
	switch {
	case apierrors.IsAlreadyExists(err): // somebody was faster: what they made holds
		if made, err = client.Get(ctx, object.GetName(), metav1.GetOptions{}); err != nil {
			return nil, "", fmt.Errorf("%s: %w", Name(object), err)
		}
		return made, Unchanged, nil
	case a.DryRun && isNamespaceMissing(err):
		return object, Created, nil
	case err != nil:
		return nil, "", fmt.Errorf("%s: %w", Name(object), err)
	}
	return made, Created, nil
}

// Update replaces an object that was read before; it is refused where somebody changed
// it since.
func (a *Applier) Update(ctx context.Context, object *unstructured.Unstructured) error {
	client, err := a.of(object)
	if err != nil {
		return err
	}
	if _, err := client.Update(ctx, object, metav1.UpdateOptions{FieldManager: FieldManager, DryRun: a.dryRun()}); err != nil {
		return fmt.Errorf("%s: %w", Name(object), err)
	}
	return nil
}

// ResourceOf says which resource an object is of, and whether it is in a namespace.
func (a *Applier) ResourceOf(object *unstructured.Unstructured) (resource schema.GroupResource, namespaced bool, err error) {
	mapping, err := a.mapping(object)
	if err != nil {
		return resource, false, err
	}
	return mapping.Resource.GroupResource(), mapping.Scope.Name() != meta.RESTScopeNameRoot, nil
}

// Get reads an object as it is in the cluster; nil where there is none.
func (a *Applier) Get(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	client, err := a.of(object)
	if err != nil {
		return nil, err
	}
	there, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", Name(object), err)
	}
	return there, nil
}

// Delete removes an object. What it owns is removed in the background.
func (a *Applier) Delete(ctx context.Context, object *unstructured.Unstructured) (Change, error) {
	client, err := a.of(object)
	var unserved *Unserved
	switch {
	case errors.As(err, &unserved): // what cannot be there is not there
		return Absent, nil
	case err != nil:
		return "", err
	}
	background := metav1.DeletePropagationBackground
	err = client.Delete(ctx, object.GetName(), metav1.DeleteOptions{DryRun: a.dryRun(), PropagationPolicy: &background})
	switch {
	case apierrors.IsNotFound(err):
		return Absent, nil
	case err != nil:
		return "", fmt.Errorf("%s: %w", Name(object), err)
	}
	return Deleted, nil
}

// of gives the client of an object's kind and namespace.
func (a *Applier) of(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	mapping, err := a.mapping(object)
	switch {
	case err != nil:
		return nil, err
	case mapping.Scope.Name() == meta.RESTScopeNameRoot:
		return a.client.Resource(mapping.Resource), nil
	case object.GetNamespace() == "":
		return nil, fmt.Errorf("%s has no namespace", Name(object))
	}
	return a.client.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
}

// mapping finds an object's kind. One whose CRD has just been made is found by asking
// the server once more.
func (a *Applier) mapping(object *unstructured.Unstructured) (*meta.RESTMapping, error) {
	kind := object.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		a.mapper.Reset()
		mapping, err = a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	switch {
	case meta.IsNoMatchError(err):
		return nil, &Unserved{Object: Name(object), APIVersion: object.GetAPIVersion()}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", Name(object), err)
	}
	return mapping, nil
}

func (a *Applier) dryRun() []string {
	if a.DryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}

func isNamespaceMissing(err error) bool {
	status := apierrors.APIStatus(nil)
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	d := status.Status().Details
	return d != nil && d.Kind == "namespaces"
}

// Name is an object as kubectl names it: Kind namespace/name.
func Name(object *unstructured.Unstructured) string {
	if ns := object.GetNamespace(); ns != "" {
		return object.GetKind() + " " + ns + "/" + object.GetName()
	}
	return object.GetKind() + " " + object.GetName()
}

// Unserved says that a cluster does not have a kind.
type Unserved struct {
	Object     string
	APIVersion string
}

func (e *Unserved) Error() string {
	return fmt.Sprintf("%s: the cluster does not serve this kind of %s", e.Object, e.APIVersion)
}

// Conflict says that other field managers own fields of an object that should be
// something else.
type Conflict struct {
	Object string
	Fields []Owned
}

// Owned is a field and the field manager that owns it.
type Owned struct{ Field, Manager string }

func (e *Conflict) Error() string {
	said := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		said[i] = fmt.Sprintf("%s owns %s", f.Manager, f.Field)
	}
	return fmt.Sprintf("%s is also written by others: %s", e.Object, strings.Join(said, "; "))
}

// conflict reads the managers out of the API server's answer, whose causes say
// `conflict with "NAME" using VERSION`.
func conflict(object *unstructured.Unstructured, err error) error {
	c := &Conflict{Object: Name(object)}
	status := apierrors.APIStatus(nil)
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			if cause.Type != metav1.CauseTypeFieldManagerConflict {
				continue
			}
			manager := cause.Message
			if _, rest, found := strings.Cut(cause.Message, `"`); found {
				manager, _, _ = strings.Cut(rest, `"`)
			}
			c.Fields = append(c.Fields, Owned{Field: cause.Field, Manager: manager})
		}
	}
	if len(c.Fields) == 0 {
		return fmt.Errorf("%s: %w", c.Object, err)
	}
	return c
}
