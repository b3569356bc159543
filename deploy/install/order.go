package install

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/health"
)

// Part is a part of the fleet's servers, by its label app.kubernetes.io/component.
type Part string

// The parts with workloads, in the order in which they begin: each needs the one
// before it. The operator makes the event log, and the callout lets nobody in before it
// has read there whose access is revoked.
const (
	NATS     Part = "nats"
	Operator Part = "operator"
	Callout  Part = "callout"
)

// Labels of the chart.
const (
	componentLabel = "app.kubernetes.io/component"
	appName        = "harmony-fleet"
)

// rank is when an object is applied among those that are no workloads. What others
// name by reference comes first.
func rank(kind string) int {
	order := []string{
		"ResourceQuota", "LimitRange", "ServiceAccount", "Secret", "ConfigMap", "ClusterRole", "Role", "ClusterRoleBinding",
		"RoleBinding", "NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget", "Service",
	}
	if i := slices.Index(order, kind); i >= 0 {
		return i
	}
	return len(order)
}

// Ordered is what is applied, in order.
type Ordered struct {
	First     []*unstructured.Unstructured // no workloads
	Workloads []Started
}

// Started is a workload that is applied, and waited for where it is a part that
// others need.
type Started struct {
	Part   Part // empty: nothing needs it
	Object *unstructured.Unstructured
}

// Workload is what is waited for.
func (s Started) Workload() health.Workload {
	return health.Workload{Kind: s.Object.GetKind(), Namespace: s.Object.GetNamespace(), Name: s.Object.GetName()}
}

// Order sorts what is to be applied. The order of objects of one rank is that of
// their names, so that two runs do the same.
func Order(objects []*unstructured.Unstructured) (Ordered, error) {
	var o Ordered
	seen := map[string]bool{}
	parts := []Part{NATS, Operator, Callout}
	for _, object := range objects {
		name := apply.Name(object)
		if seen[name] {
			return o, fmt.Errorf("%s is there twice", name)
		}
		seen[name] = true
		switch object.GetKind() {
		case "Deployment", "StatefulSet":
			part := Part(object.GetLabels()[componentLabel])
			if !slices.Contains(parts, part) {
				part = ""
			}
			o.Workloads = append(o.Workloads, Started{part, object})
		default:
			o.First = append(o.First, object)
		}
	}
	slices.SortFunc(o.First, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(rank(a.GetKind()), rank(b.GetKind())), cmp.Compare(apply.Name(a), apply.Name(b)))
	})
	place := func(s Started) int {
		if i := slices.Index(parts, s.Part); i >= 0 {
			return i
		}
		return len(parts)
	}
	slices.SortFunc(o.Workloads, func(a, b Started) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(apply.Name(a.Object), apply.Name(b.Object)))
	})
	return o, nil
}
