// Package install puts our CRDs into a cluster.
package install

import (
	"context"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/manifests"
)

// FieldManager owns what Install writes.
const FieldManager = "fleet-install"

// pollEvery is how often Install looks whether a CRD is served yet.
const pollEvery = 50 * time.Millisecond

// Install applies our CRDs by server-side apply and returns once each is
// established and served. Doing it again, or with a newer version, is fine.
//
// Errors: what the API server refuses, named by CRD; the context's end, with
// what was still awaited.
func Install(ctx context.Context, config *rest.Config) error {
	definitions, err := manifests.Definitions()
	if err != nil {
		return err
	}
	yamls, err := manifests.CRDs()
	if err != nil {
		return err
	}
	client, err := apiextensions.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("install CRDs: %w", err)
	}
	for i, definition := range definitions {
		patch, err := yaml.YAMLToJSON(yamls[i])
		if err != nil {
			return fmt.Errorf("install CRD %s: %w", definition.Name, err)
		}
		if err := apply(ctx, client, definition.Name, patch); err != nil {
			return fmt.Errorf("install CRD %s: %w", definition.Name, err)
		}
	}
	for _, definition := range definitions {
		if err := awaitServed(ctx, client, definition); err != nil {
			return fmt.Errorf("install CRD %s: %w", definition.Name, err)
		}
	}
	return nil
}

// apply applies a CRD. One that is being deleted takes the change and is gone a moment later,
// so it is waited for and made again.
func apply(ctx context.Context, client apiextensions.Interface, name string, patch []byte) error {
	crds, force := client.ApiextensionsV1().CustomResourceDefinitions(), true
	leaving := false
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		if leaving {
			if _, err := crds.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return false, err
			}
		}
		crd, err := crds.Patch(ctx, name, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: FieldManager, Force: &force})
		if err != nil {
			return false, err
		}
		leaving = crd.DeletionTimestamp != nil
		return !leaving, nil
	})
	if err != nil && leaving {
		return fmt.Errorf("wait until the one that is being deleted is gone: %w", err)
	}
	return err
}

// awaitServed waits until the API server says that the CRD is established, and
// lists its kind in discovery, where clients look for it.
func awaitServed(ctx context.Context, client apiextensions.Interface, definition *apiextensionsv1.CustomResourceDefinition) error {
	waiting := "not looked at yet"
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		crd, err := client.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, definition.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if waiting = unestablished(crd); waiting != "" {
			return false, nil
		}
		gv := definition.Spec.Group + "/" + definition.Spec.Versions[0].Name
		resources, err := client.Discovery().ServerResourcesForGroupVersion(gv)
		if err != nil {
			if apierrors.IsNotFound(err) {
				waiting = "not in discovery yet"
				return false, nil
			}
			return false, err
		}
		for _, resource := range resources.APIResources {
			if resource.Name == definition.Spec.Names.Plural {
				return true, nil
			}
		}
		waiting = "not in discovery yet"
		return false, nil
	})
	if err != nil && waiting != "" {
		return fmt.Errorf("wait until it is served (%s): %w", waiting, err)
	}
	return err
}

// unestablished says why a CRD isn't usable yet; nothing when it is.
func unestablished(crd *apiextensionsv1.CustomResourceDefinition) string {
	why := "no condition Established yet"
	for _, condition := range crd.Status.Conditions {
		switch condition.Type {
		case apiextensionsv1.NamesAccepted:
			if condition.Status == apiextensionsv1.ConditionFalse {
				return condition.Message
			}
		case apiextensionsv1.Established:
			if condition.Status == apiextensionsv1.ConditionTrue {
				why = ""
			} else {
				why = condition.Message
			}
		}
	}
	return why
}
