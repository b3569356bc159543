package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Right is something that a person may do in a cluster.
type Right struct {
	Verb, Group, Resource string
	Subresource           string
	Namespace             string // empty: in the whole cluster
}

// what is the resource as kubectl names it.
func (r Right) what() string {
	what := r.Resource
	if r.Subresource != "" {
		what += "/" + r.Subresource
	}
	if r.Group != "" {
		what += "." + r.Group
	}
	return what
}

func (r Right) String() string {
	if r.Namespace == "" {
		return r.Verb + " " + r.what()
	}
	return r.Verb + " " + r.what() + " in namespace " + r.Namespace
}

// Lacking asks the API server which of the rights the present user does not have.
func Lacking(ctx context.Context, config *rest.Config, rights []Right) ([]Right, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	rights = slices.Clone(rights)
	slices.SortFunc(rights, func(a, b Right) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(a.Subresource, b.Subresource), cmp.Compare(a.Verb, b.Verb))
	})
	var lacking []Right
	for _, r := range slices.Compact(rights) {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: r.Resource, Subresource: r.Subresource},
		}}
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("ask for the right to %s: %w", r, err)
		}
		if !answer.Status.Allowed {
			lacking = append(lacking, r)
		}
	}
	return lacking, nil
}
