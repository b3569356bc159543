package install

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/install/apply"
)

// RecordName is the ConfigMap that says what is installed in a namespace.
const RecordName = "fleet-install"

// State is how far an installation got.
type State string

// The states.
const (
	Installing State = "installing" // it was begun, and may have been cut off
	Installed  State = "installed"
	Removed    State = "removed" // uninstalled; its data and its values are kept
)

// Record is what is known of an installation: by it an upgrade knows the values, and
// an uninstallation the objects.
type Record struct {
	State   State
	Version string // of the fleet
	Before  string // the version before it; empty: none
	Profile string
	Values  map[string]any // what a person set, over the profile's
	// ImagesFrom is the registry and prefix below which the fleet's images are; empty: the
	// values name each.
	ImagesFrom string
	Secrets    []string // that were made once, sorted
	Objects    []Ref    // sorted
	Changed    time.Time
}

// Ref names an object.
type Ref struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// RefOf names an object.
func RefOf(o *unstructured.Unstructured) Ref {
	return Ref{o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName()}
}

// Object is an empty object of the name.
func (r Ref) Object() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(r.APIVersion)
	o.SetKind(r.Kind)
	o.SetNamespace(r.Namespace)
	o.SetName(r.Name)
	return o
}

// same is whether two names are one object: a kind may have moved to a newer version.
func (r Ref) same(other Ref) bool {
	return r.Kind == other.Kind && r.Namespace == other.Namespace && r.Name == other.Name
}

// Object is the ConfigMap that keeps the record.
func (r Record) Object(namespace string) (*unstructured.Unstructured, error) {
	values, err := yaml.Marshal(r.Values)
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	objects, err := json.Marshal(r.Objects)
	if err != nil {
		return nil, fmt.Errorf("objects: %w", err)
	}
	o := Ref{"v1", "ConfigMap", namespace, RecordName}.Object()
	o.SetLabels(map[string]string{"app.kubernetes.io/name": appName, "app.kubernetes.io/managed-by": apply.FieldManager})
	data := map[string]any{
		"state": string(r.State), "version": r.Version, "before": r.Before, "profile": r.Profile,
		"images": r.ImagesFrom, "secrets": strings.Join(r.Secrets, " "), "values.yaml": string(values), "objects.json": string(objects), "changed": r.Changed.UTC().Format(time.RFC3339),
	}
	o.Object["data"] = data
	return o, nil
}

// ParseRecord reads a record from its ConfigMap.
func ParseRecord(o *unstructured.Unstructured) (Record, error) {
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", apply.Name(o), err)
	}
	r := Record{State: State(data["state"]), Version: data["version"], Before: data["before"], Profile: data["profile"], ImagesFrom: data["images"], Secrets: strings.Fields(data["secrets"])}
	if err := yaml.UnmarshalStrict([]byte(data["values.yaml"]), &r.Values); err != nil {
		return r, fmt.Errorf("%s, values.yaml: %w", apply.Name(o), err)
	}
	if err := json.Unmarshal([]byte(data["objects.json"]), &r.Objects); err != nil {
		return r, fmt.Errorf("%s, objects.json: %w", apply.Name(o), err)
	}
	if r.Changed, err = time.Parse(time.RFC3339, data["changed"]); err != nil {
		return r, fmt.Errorf("%s, changed: %w", apply.Name(o), err)
	}
	return r, nil
}

// Leftover lists what an earlier installation made and the present one does not have.
func Leftover(before, now []Ref) []Ref {
	var left []Ref
	for _, old := range before {
		if !slices.ContainsFunc(now, old.same) {
			left = append(left, old)
		}
	}
	return left
}

// union lists the objects of both, sorted: until what is left over is deleted, it is
// still known.
func union(a, b []Ref) []Ref {
	all := slices.Concat(a, Leftover(b, a))
	slices.SortFunc(all, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}
