package install

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/manifests"
	"fleet.nationtech.io/crds/v1alpha1"
)

// ErrPoliciesNotServed says that the API server knows no MutatingAdmissionPolicy,
// so that nothing can say there who changed a Deployment but the field managers.
var ErrPoliciesNotServed = errors.New("the API server does not serve MutatingAdmissionPolicies (admissionregistration.k8s.io/v1, from Kubernetes 1.36 on)")

// policyGroup serves the policies.
var policyGroup = schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}

// probeNamespace is in every cluster.
const probeNamespace = metav1.NamespaceDefault

// Policies applies the admission policies by server-side apply. It does not wait
// until they are in force: see AwaitPolicies. Doing it again, or with a newer
// version, is fine.
//
// Errors: ErrPoliciesNotServed; what the API server refuses, named by object.
func Policies(ctx context.Context, config *rest.Config) error {
	objects, err := manifests.Policies()
	if err != nil {
		return err
	}
	resources, err := policyResources(config)
	if err != nil {
		return fmt.Errorf("install policies: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("install policies: %w", err)
	}
	var missing error
	for _, object := range objects {
		resource, served := resources[object.GetKind()]
		if !served {
			missing = ErrPoliciesNotServed
			continue // an older API server may serve the others
		}
		_, err := client.Resource(policyGroup.WithResource(resource)).Apply(ctx, object.GetName(), object,
			metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
		if err != nil {
			return fmt.Errorf("install %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	if missing != nil {
		return fmt.Errorf("install policies: %w", missing)
	}
	return nil
}

// policyResources gives, by kind, the resources of the policies' group.
func policyResources(config *rest.Config) (map[string]string, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	list, err := client.ServerResourcesForGroupVersion(policyGroup.String())
	if apierrors.IsNotFound(err) {
		return nil, ErrPoliciesNotServed
	}
	if err != nil {
		return nil, err
	}
	byKind := map[string]string{}
	for _, r := range list.APIResources {
		if !strings.Contains(r.Name, "/") { // not a part, such as the status
			byKind[r.Kind] = r.Name
		}
	}
	return byKind, nil
}

// AwaitPolicies waits until the policies are in force, which takes a second after
// they came, and up to five after the CRDs came or the API server began: until
// then it answers anyone who changes a Deployment that its kind was not found.
//
// It asks by a dry run that claims a requester: a policy in force lets no claim
// through, and nothing is left behind.
//
// Errors: what the API server says against a Deployment at all; the context's
// end, with what was still awaited.
func AwaitPolicies(ctx context.Context, config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("await policies: %w", err)
	}
	deployments := client.Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(probeNamespace)
	waiting := "not looked at yet"
	err = wait.PollUntilContextCancel(ctx, 2*pollEvery, true, func(ctx context.Context) (bool, error) {
		got, err := deployments.Create(ctx, claim(), metav1.CreateOptions{FieldManager: FieldManager, DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsServiceUnavailable(err) {
			waiting = err.Error()
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if _, through := got.GetAnnotations()[v1alpha1.AnnotationRequestedBy]; through {
			waiting = "it does not look at Deployments yet"
			return false, nil
		}
		return true, nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("await policies (%s): %w", waiting, err)
	}
	if err != nil {
		return fmt.Errorf("await policies: %w", err)
	}
	return nil
}

// claim is a Deployment that says itself who asked for it.
func claim() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "Deployment",
		"metadata": map[string]any{
			"generateName": "fleet-install-probe-",
			"annotations":  map[string]any{v1alpha1.AnnotationRequestedBy: "nobody, if the policy is in force"},
		},
		"spec": map[string]any{
			"targetSelector": map[string]any{"matchLabels": map[string]any{v1alpha1.LabelDevice: "none"}},
			"score": map[string]any{"type": string(v1alpha1.ScorePodmanV0), "data": map[string]any{
				"services": []any{map[string]any{"name": "main", "image": "none"}},
			}},
		},
	}}
}
