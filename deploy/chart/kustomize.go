package chart

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/chart/names"
)

// KustomizeBase is the folder of the base, below deploy/kustomize; KustomizeOverlays are those
// that change it.
const (
	KustomizeBase     = "base"
	kustomizeOverlays = "overlays/"
)

// exampleProvider stands for the identity provider that each fleet has of its own: a person
// replaces the ConfigMap fleet-callout.
func exampleProvider() Values {
	return Values{
		"issuer": "https://auth.example.com", "project": "PROJECT", "deviceOrganization": "DEVICE-ORGANIZATION", "organizations": []any{"ORGANIZATION"},
	}
}

// KustomizeRenderings are the options by which each folder below deploy/kustomize equals the
// chart.
func KustomizeRenderings() map[string]Options {
	return map[string]Options{
		KustomizeBase:             {Profile: "production", Values: Values{"callout": exampleProvider(), "openshift": false}},
		kustomizeOverlays + "lab": {Profile: "lab", Values: Values{"callout": exampleProvider(), "openshift": false, "devices": Values{"expose": "nodePort"}}},
		kustomizeOverlays + "production": {Profile: "production", Values: Values{
			"callout": exampleProvider(), "openshift": false, "devices": Values{"expose": "loadBalancer"},
			"monitoring": Values{"serviceMonitors": true, "rules": true},
		}},
		kustomizeOverlays + "openshift": {Profile: "production", Values: Values{
			"callout": exampleProvider(), "openshift": true, "devices": Values{"expose": "route", "host": "devices.apps.example.com"},
		}},
	}
}

// KustomizeFiles are the files below deploy/kustomize, by their paths.
func KustomizeFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	base, err := Render(KustomizeRenderings()[KustomizeBase])
	if err != nil {
		return nil, err
	}
	resources := []string{"namespace.yaml"}
	if err := add(files, KustomizeBase+"/namespace.yaml", Namespace(names.Namespace)); err != nil {
		return nil, err
	}
	byComponent := map[string][]*unstructured.Unstructured{}
	for _, o := range base {
		c := o.GetLabels()["app.kubernetes.io/component"]
		byComponent[c] = append(byComponent[c], o)
	}
	for _, component := range slices.Sorted(maps.Keys(byComponent)) {
		if err := add(files, KustomizeBase+"/"+component+".yaml", byComponent[component]...); err != nil {
			return nil, err
		}
		resources = append(resources, component+".yaml")
	}
	if files[KustomizeBase+"/kustomization.yaml"], err = kustomization(map[string]any{"resources": resources}); err != nil {
		return nil, err
	}
	for _, folder := range slices.Sorted(maps.Keys(KustomizeRenderings())) {
		if folder == KustomizeBase {
			continue
		}
		o := KustomizeRenderings()[folder]
		if err := overlay(files, folder, base, o); err != nil {
			return nil, fmt.Errorf("overlay %s: %w", folder, err)
		}
	}
	return files, nil
}

// Namespace is the fleet's namespace, in which Pod Security refuses what is not "restricted".
func Namespace(name string) *unstructured.Unstructured {
	labels := map[string]any{"app.kubernetes.io/part-of": "harmony-fleet"}
	for _, mode := range []string{"enforce", "audit", "warn"} {
		labels["pod-security.kubernetes.io/"+mode] = "restricted"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "labels": labels},
	}}
}

func add(files map[string][]byte, path string, objects ...*unstructured.Unstructured) error {
	b, err := YAML(objects)
	files[path] = append([]byte(header), b...)
	return err
}

func kustomization(content map[string]any) ([]byte, error) {
	content["apiVersion"], content["kind"] = "kustomize.config.k8s.io/v1beta1", "Kustomization"
	b, err := yaml.Marshal(content)
	return append([]byte(header), b...), err
}

// overlay writes what makes the chart of other options out of the base: objects that come,
// objects that go, and patches of those that differ.
func overlay(files map[string][]byte, folder string, base []*unstructured.Unstructured, o Options) error {
	objects, err := Render(o)
	if err != nil {
		return err
	}
	before := map[string]*unstructured.Unstructured{}
	for _, o := range base {
		before[id(o)] = o
	}
	resources, patches, fresh := []string{"../../base"}, []any{}, []*unstructured.Unstructured{}
	for _, o := range objects {
		old := before[id(o)]
		delete(before, id(o))
		if old == nil {
			fresh = append(fresh, o)
			continue
		}
		ops := difference("", old.Object, o.Object)
		if len(ops) == 0 {
			continue
		}
		b, err := yaml.Marshal(ops)
		if err != nil {
			return err
		}
		patches = append(patches, map[string]any{"target": target(o), "patch": string(b)})
	}
	for _, gone := range slices.Sorted(maps.Keys(before)) {
		o := before[gone]
		b, err := yaml.Marshal(map[string]any{
			"$patch": "delete", "apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": map[string]any{"name": o.GetName(), "namespace": o.GetNamespace()},
		})
		if err != nil {
			return err
		}
		patches = append(patches, map[string]any{"patch": string(b)})
	}
	if len(fresh) > 0 {
		if err := add(files, folder+"/added.yaml", fresh...); err != nil {
			return err
		}
		resources = append(resources, "added.yaml")
	}
	files[folder+"/kustomization.yaml"], err = kustomization(map[string]any{"resources": resources, "patches": patches})
	return err
}

func id(o *unstructured.Unstructured) string { return o.GetKind() + "/" + o.GetName() }

func target(o *unstructured.Unstructured) map[string]any {
	gvk := o.GroupVersionKind()
	t := map[string]any{"version": gvk.Version, "kind": gvk.Kind, "name": o.GetName()}
	if gvk.Group != "" {
		t["group"] = gvk.Group
	}
	return t
}

// difference is the JSON patch (RFC 6902) that makes b of a. Lists of one length are
// compared item by item.
func difference(path string, a, b any) []map[string]any {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	var ops []map[string]any
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			break
		}
		all := maps.Clone(a)
		maps.Copy(all, b)
		for _, k := range slices.Sorted(maps.Keys(all)) {
			at := path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(k)
			old, had := a[k]
			fresh, has := b[k]
			switch {
			case !has:
				ops = append(ops, map[string]any{"op": "remove", "path": at})
			case !had:
				ops = append(ops, map[string]any{"op": "add", "path": at, "value": fresh})
			default:
				ops = append(ops, difference(at, old, fresh)...)
			}
		}
		return ops
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			break
		}
		for i := range a {
			ops = append(ops, difference(fmt.Sprintf("%s/%d", path, i), a[i], b[i])...)
		}
		return ops
	}
	return []map[string]any{{"op": "replace", "path": path, "value": b}}
}
