package install

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"fleet.nationtech.io/crds/manifests"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
)

func (r *run) preflight(ctx context.Context) error {
	wish := r.wish()
	rights, err := r.rights()
	if err != nil {
		return err
	}
	if wish.Lacking, err = cluster.Lacking(ctx, r.Config, rights); err != nil {
		return err
	}
	r.result.Findings = cluster.Preflight(r.result.Facts, wish)
	if len(wish.Lacking) == 0 { // what follows reads the cluster's objects
		if r.unread != nil {
			return r.unread
		}
		claims, err := r.claims(ctx)
		if err != nil {
			return err
		}
		provider, err := r.provided(ctx)
		if err != nil {
			return err
		}
		secret, err := r.clientSecret(ctx)
		if err != nil {
			return err
		}
		other, err := r.another(ctx)
		if err != nil {
			return err
		}
		lost, err := r.lost(ctx)
		if err != nil {
			return err
		}
		issuer, err := r.issuer(ctx)
		if err != nil {
			return err
		}
		succession, err := r.succession(ctx)
		if err != nil {
			return err
		}
		r.result.Findings = slices.Concat(other, lost, claims, provider, secret, issuer, succession, r.result.Findings)
	}
	r.Found(r.result.Findings)
	var refused []cluster.Finding
	for _, f := range r.result.Findings {
		if f.Level == cluster.Refuse {
			refused = append(refused, f)
		}
	}
	if len(refused) > 0 {
		return &RefusedError{refused}
	}
	return nil
}

// rights are what the installation does in the cluster.
func (r *run) rights() ([]cluster.Right, error) {
	rights := []cluster.Right{
		{Verb: "get", Resource: "namespaces"},
		{Verb: "create", Resource: "namespaces"},
		{Verb: "patch", Resource: "namespaces"},
		{Verb: "get", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Verb: "create", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Verb: "patch", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Verb: "get", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "create", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "update", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "list", Resource: "pods", Namespace: r.Namespace},
		{Verb: "patch", Resource: "pods", Namespace: r.Namespace},
		{Verb: "create", Resource: "pods", Subresource: "portforward", Namespace: r.Namespace},
		{Verb: "list", Resource: "events", Namespace: r.Namespace},
		{Verb: "list", Resource: "persistentvolumeclaims", Namespace: r.Namespace},
		{Verb: "list", Group: "apps", Resource: "replicasets", Namespace: r.Namespace},
	}
	if r.settings.issued() {
		rights = append(rights, r.issuerRight())
	}
	if r.returns() && r.settings.ownCertificate() {
		rights = append(rights, cluster.Right{Verb: "delete", Resource: "secrets", Namespace: r.Namespace})
	}
	if r.before != nil {
		gone, err := r.deletions(Leftover(r.before.Objects, r.refs))
		if err != nil {
			return nil, err
		}
		rights = append(rights, gone...)
	}
	objects, err := manifests.Policies()
	if err != nil {
		return nil, err
	}
	objects = append(objects, r.objects.First...)
	for _, s := range r.objects.Workloads {
		objects = append(objects, s.Object)
	}
	for _, o := range objects {
		resource, namespaced, err := r.applier.ResourceOf(o)
		var unserved *apply.Unserved
		if errors.As(err, &unserved) {
			continue // preflight has a sentence for it, or the object's own step
		}
		if err != nil {
			return nil, err
		}
		namespace := ""
		if namespaced {
			namespace = o.GetNamespace()
		}
		// To make an object by server-side apply takes the right to create it as well.
		for _, verb := range []string{"get", "create", "patch"} {
			rights = append(rights, cluster.Right{Verb: verb, Group: resource.Group, Resource: resource.Resource, Namespace: namespace})
		}
	}
	return rights, nil
}

// deletions are the rights to delete objects.
func (r *run) deletions(refs []Ref) ([]cluster.Right, error) {
	var rights []cluster.Right
	for _, ref := range refs {
		resource, namespaced, err := r.applier.ResourceOf(ref.Object())
		var unserved *apply.Unserved
		if errors.As(err, &unserved) {
			continue // what cannot be there need not be deleted
		}
		if err != nil {
			return nil, err
		}
		right := cluster.Right{Verb: "delete", Group: resource.Group, Resource: resource.Resource}
		if namespaced {
			right.Namespace = ref.Namespace
		}
		rights = append(rights, right)
	}
	return rights, nil
}

// another says where the cluster has a fleet in another namespace: the CRDs, the roles
// and the Deployments are the whole cluster's, so two operators would work on the same.
func (r *run) another(ctx context.Context) ([]cluster.Finding, error) {
	for _, o := range r.objects.First {
		if o.GetKind() != "ClusterRoleBinding" {
			continue
		}
		there, err := r.applier.Get(ctx, o)
		if err != nil {
			return nil, err
		}
		if there == nil {
			continue
		}
		subjects, _, err := unstructured.NestedSlice(there.Object, "subjects")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", apply.Name(there), err)
		}
		for _, s := range subjects {
			subject, _ := s.(map[string]any)
			if namespace, _ := subject["namespace"].(string); namespace != "" && namespace != r.Namespace {
				return []cluster.Finding{{
					Level:    cluster.Refuse,
					Sentence: fmt.Sprintf("The cluster has a fleet in namespace %s already, and a cluster has one fleet.", namespace),
					Remedy:   "--namespace " + namespace + ", or take that one out first: fleetctl uninstall --namespace " + namespace + ".",
				}}, nil
			}
		}
	}
	return nil, nil
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
