package install

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
)

// settings are the chart's values that the installer itself looks at.
type settings struct {
	NATS struct {
		Replicas int `json:"replicas"`
		Storage  struct {
			Class string `json:"class"`
		} `json:"storage"`
		TLS struct {
			ClientsSecret string `json:"clientsSecret"`
			RoutesSecret  string `json:"routesSecret"`
		} `json:"tls"`
	} `json:"nats"`
	Callout struct {
		Enabled       bool   `json:"enabled"`
		Issuer        string `json:"issuer"`
		Introspection bool   `json:"introspection"`
		IssuerCA      bool   `json:"issuerCA"`
	} `json:"callout"`
	Devices struct {
		Expose  cluster.Expose `json:"expose"`
		Host    string         `json:"host"`
		Ingress struct {
			ClassName string `json:"className"`
		} `json:"ingress"`
		NodePort struct {
			NATS      int `json:"nats"`
			WebSocket int `json:"websocket"`
		} `json:"nodePort"`
		LoadBalancer struct {
			WebSocketPort int `json:"websocketPort"`
		} `json:"loadBalancer"`
	} `json:"devices"`
}

func (r *run) settings() (settings, error) {
	var s settings
	values, err := chart.Effective(r.chartOptions())
	if err != nil {
		return s, err
	}
	text, err := json.Marshal(values)
	if err != nil {
		return s, fmt.Errorf("values: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("values: %w", err)
	}
	return s, nil
}

// wish is what the values need of the cluster.
func (r *run) wish(s settings) cluster.Wish {
	r.result.URLs = outsideURLs(s)
	return cluster.Wish{
		Servers: s.NATS.Replicas, Storage: true, StorageClass: s.NATS.Storage.Class, Architectures: r.Architectures,
		Expose: s.Devices.Expose, IngressClass: s.Devices.Ingress.ClassName,
	}
}

// rights are what the installation does in the cluster.
func (r *run) rights() ([]cluster.Right, error) {
	rights := []cluster.Right{
		{Verb: "get", Resource: "namespaces"},
		{Verb: "patch", Resource: "namespaces"},
		{Verb: "get", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Verb: "patch", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Verb: "get", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "create", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "update", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "list", Resource: "pods", Namespace: r.Namespace},
		{Verb: "create", Resource: "pods", Subresource: "portforward", Namespace: r.Namespace},
		{Verb: "list", Resource: "events", Namespace: r.Namespace},
		{Verb: "list", Resource: "persistentvolumeclaims", Namespace: r.Namespace},
		{Verb: "list", Group: "apps", Resource: "replicasets", Namespace: r.Namespace},
	}
	objects := slices.Clone(r.objects.First)
	for _, s := range r.objects.Workloads {
		objects = append(objects, s.Object)
	}
	for _, o := range objects {
		resource, namespaced, err := r.applier.ResourceOf(o)
		if err != nil {
			return nil, err
		}
		namespace := ""
		if namespaced {
			namespace = o.GetNamespace()
		}
		for _, verb := range []string{"get", "patch"} {
			rights = append(rights, cluster.Right{Verb: verb, Group: resource.Group, Resource: resource.Resource, Namespace: namespace})
		}
	}
	return rights, nil
}

// claims says where a StatefulSet that is there has claims of another size or class:
// Kubernetes does not change them.
func (r *run) claims(ctx context.Context) ([]cluster.Finding, error) {
	var findings []cluster.Finding
	for _, s := range r.objects.Workloads {
		if s.Object.GetKind() != "StatefulSet" {
			continue
		}
		there, err := r.applier.Get(ctx, s.Object)
		if err != nil {
			return nil, err
		}
		if there == nil {
			continue
		}
		var is, should appsv1.StatefulSet
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(there.Object, &is); err != nil {
			return nil, fmt.Errorf("%s: %w", apply.Name(there), err)
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(s.Object.Object, &should); err != nil {
			return nil, fmt.Errorf("%s: %w", apply.Name(s.Object), err)
		}
		findings = append(findings, differingClaims(&is, &should)...)
	}
	return findings, nil
}

func differingClaims(is, should *appsv1.StatefulSet) []cluster.Finding {
	var findings []cluster.Finding
	for _, want := range should.Spec.VolumeClaimTemplates {
		i := slices.IndexFunc(is.Spec.VolumeClaimTemplates, func(c corev1.PersistentVolumeClaim) bool { return c.Name == want.Name })
		if i < 0 {
			continue
		}
		have := is.Spec.VolumeClaimTemplates[i]
		size, wanted := have.Spec.Resources.Requests[corev1.ResourceStorage], want.Spec.Resources.Requests[corev1.ResourceStorage]
		switch {
		case size.Cmp(wanted) < 0:
			findings = append(findings, cluster.Finding{
				Level:    cluster.Refuse,
				Sentence: fmt.Sprintf("The volumes of StatefulSet %s are %s, and %s is wished. Kubernetes does not change a StatefulSet's claims.", is.Name, size.String(), wanted.String()),
				Remedy: fmt.Sprintf("Where the storage class allows it, grow each volume: kubectl -n %s patch pvc %s-%s-N -p '{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"%s\"}}}}'. "+
					"Then: kubectl -n %s delete statefulset %s --cascade=orphan, and install again.", is.Namespace, want.Name, is.Name, wanted.String(), is.Namespace, is.Name),
			})
		case size.Cmp(wanted) > 0:
			findings = append(findings, cluster.Finding{
				Level:    cluster.Refuse,
				Sentence: fmt.Sprintf("The volumes of StatefulSet %s are %s, and %s is wished. Volumes cannot shrink.", is.Name, size.String(), wanted.String()),
				Remedy:   "Keep the size: --set nats.storage.size=" + size.String() + ".",
			})
		case want.Spec.StorageClassName != nil && !reflect.DeepEqual(have.Spec.StorageClassName, want.Spec.StorageClassName):
			findings = append(findings, cluster.Finding{
				Level:    cluster.Refuse,
				Sentence: fmt.Sprintf("The volumes of StatefulSet %s are of another storage class than %s. Kubernetes does not change a StatefulSet's claims.", is.Name, *want.Spec.StorageClassName),
				Remedy:   "Keep the class, or archive the log, uninstall with --delete-data, install with the new class, and restore: docs/recovery.md.",
			})
		}
	}
	return findings
}

// sameAsBefore says whether the record has nothing new to remember.
func (r *run) sameAsBefore() bool {
	b := r.before
	return b.Version == r.Version && b.Profile == r.Profile && sameValues(b.Values, r.Values) && slices.Equal(b.Objects, union(r.refs, nil))
}

// Merged puts values over others, and leaves both as they are.
func Merged(under, over chart.Values) chart.Values {
	all := maps.Clone(under)
	if all == nil {
		all = chart.Values{}
	}
	for key, value := range over {
		below, isMap := all[key].(chart.Values)
		above, alsoMap := value.(chart.Values)
		if isMap && alsoMap {
			value = Merged(below, above)
		}
		all[key] = value
	}
	return all
}

// sameValues compares values as JSON: an int of a flag is the float of a file.
func sameValues(a, b chart.Values) bool {
	if len(a)+len(b) == 0 {
		return true
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
