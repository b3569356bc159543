// Package export writes the Kubernetes objects that the event log knows of, for a
// cluster that lost its own: the Deployments that have not ended, the
// DisruptionBudgets, and the labels that persons set on Devices. Applied to an empty cluster they change nothing on
// any device. It is pure.
package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/crds/yamljson"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// Objects is what the log knows of a cluster.
type Objects struct {
	Namespaces  []string
	Budgets     []string
	Deployments []fleet.Key
	Devices     []string // those that persons labelled
	YAML        []byte   // all of them, in that order, for `kubectl apply --server-side`
}

// Of gives the objects of a view. It fails where a Deployment of the log cannot
// be said in YAML such that it is read back as it was.
func Of(v *fleet.View) (Objects, error) {
	var o Objects
	var docs [][]byte
	for _, name := range slices.Sorted(maps.Keys(v.Budgets)) { // first, so that they bind whatever comes
		b := v.Budgets[name]
		if b.Problem != "" {
			continue // it binds nothing, and the API refuses it
		}
		doc, err := document(object{
			APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DisruptionBudget", Metadata: metadata{Name: name},
			Spec: budgetSpec{Selector: b.Selector, MaxUnavailable: b.MaxUnavailable, MinAvailable: b.MinAvailable, GroupBy: b.GroupBy},
		})
		if err != nil {
			return o, fmt.Errorf("the DisruptionBudget %s: %w", name, err)
		}
		o.Budgets, docs = append(o.Budgets, name), append(docs, doc)
	}
	for _, key := range slices.SortedFunc(maps.Keys(v.Deployments), byName) {
		d := v.Deployments[key]
		if d.Lifecycle != fleet.Applied && d.Lifecycle != fleet.Orphaned {
			continue
		}
		doc, err := deployment(d)
		if err != nil {
			return o, fmt.Errorf("the Deployment %s: %w", key, err)
		}
		o.Deployments, docs = append(o.Deployments, key), append(docs, doc)
		if !slices.Contains(o.Namespaces, key.Namespace) && key.Namespace != everywhere {
			o.Namespaces = append(o.Namespaces, key.Namespace)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(v.Devices)) {
		labels := byPersons(v.Devices[id])
		if len(labels) == 0 {
			continue
		}
		doc, err := document(object{
			APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Device", Metadata: metadata{Name: id, Labels: labels},
		})
		if err != nil {
			return o, fmt.Errorf("the Device %s: %w", id, err)
		}
		o.Devices, docs = append(o.Devices, id), append(docs, doc)
	}
	var namespaces [][]byte
	for _, n := range o.Namespaces {
		doc, err := document(object{APIVersion: "v1", Kind: "Namespace", Metadata: metadata{Name: n}})
		if err != nil {
			return o, fmt.Errorf("the Namespace %s: %w", n, err)
		}
		namespaces = append(namespaces, doc)
	}
	o.YAML = bytes.Join(append(namespaces, docs...), []byte("---\n"))
	return o, nil
}

// everywhere is the namespace that every cluster has.
const everywhere = "default"

func byName(a, b fleet.Key) int { return strings.Compare(a.String(), b.String()) }

// byPersons gives the labels that persons set on a device. The others come from
// the device itself, or from the operator.
func byPersons(d *fleet.Device) map[string]string {
	if d.Decommissioned {
		return nil
	}
	labels := map[string]string{}
	for k, l := range d.Labels {
		if l.Owner != eventlog.OwnerDevice && l.Owner != v1alpha1.FieldManagerOperator && k != v1alpha1.LabelDevice {
			labels[k] = l.Value
		}
	}
	return labels
}

// object is one, without what the API server and the operator add.
type object struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       any      `json:"spec,omitempty"`
}

type metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type spec struct {
	TargetSelector eventlog.Selector `json:"targetSelector"`
	Score          json.RawMessage   `json:"score"`
	Rollout        json.RawMessage   `json:"rollout,omitempty"`
}

type budgetSpec struct {
	Selector       eventlog.Selector `json:"selector"`
	MaxUnavailable *eventlog.Amount  `json:"maxUnavailable,omitempty"`
	MinAvailable   *eventlog.Amount  `json:"minAvailable,omitempty"`
	GroupBy        []string          `json:"groupBy,omitempty"`
}

// deployment makes sure that what it writes is read back as the log has it: the
// same score to the byte is the same revision.
func deployment(d *fleet.Deployment) ([]byte, error) {
	o := object{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment",
		Metadata: metadata{Name: d.Key.Name, Namespace: d.Key.Namespace},
		Spec:     spec{TargetSelector: d.Spec.Selector, Score: d.Spec.Score, Rollout: d.Spec.Rollout},
	}
	if d.Spec.ChangeCause != "" {
		o.Metadata.Annotations = map[string]string{decide.AnnotationChangeCause: d.Spec.ChangeCause}
	}
	doc, err := document(o)
	if err != nil {
		return nil, err
	}
	if err := readsAs(doc, d); err == nil {
		return doc, nil
	}
	// JSON is YAML that leaves no choice of how to read a number or a text.
	if doc, err = json.Marshal(o); err != nil {
		return nil, err
	}
	doc = append(yamljson.Escape(doc), '\n')
	return doc, readsAs(doc, d)
}

func document(o object) ([]byte, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(b)
}

// readsAs fails where an operator would read other than the log has.
func readsAs(doc []byte, d *fleet.Deployment) error {
	var cr v1alpha1.Deployment
	if err := yaml.Unmarshal(doc, &cr); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	got := decide.SpecOf(&cr)
	if want := eventlog.Hash(d.Spec.Score); got.Hash != want {
		return fmt.Errorf("read back, its score is %s, not %s", got.Hash, want)
	}
	if got.ChangeCause != d.Spec.ChangeCause {
		return fmt.Errorf("read back, its change-cause is %q, not %q", got.ChangeCause, d.Spec.ChangeCause)
	}
	return nil
}
