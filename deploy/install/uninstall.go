package install

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/install/credentials"
)

// Uninstall takes out of the cluster what Install put there. The event log's volumes,
// the Secrets that are made once, and the CRDs with their objects stay, so that
// installing again goes on with the same fleet. deleteData deletes the volumes and the
// Secrets too.
//
// Errors: ErrNothingInstalled; what the API server refuses.
func Uninstall(ctx context.Context, o Options, deleteData bool) (Result, error) {
	r, err := begin(o)
	if err != nil {
		return Result{}, err
	}
	if err := r.look(ctx); err != nil {
		return r.result, err
	}
	if r.unread != nil {
		return r.result, r.unread
	}
	if r.before == nil || r.before.State == Removed && !deleteData {
		return r.result, ErrNothingInstalled
	}
	if err := r.mayDelete(ctx, deleteData); err != nil {
		return r.result, err
	}
	// The way back is that of the installation: callout, operator, NATS, and then what they use.
	for _, ref := range slices.Backward(inOrder(r.before.Objects)) {
		if err := r.remove(ctx, ref); err != nil {
			return r.result, err
		}
	}
	if !deleteData { // the values are kept, for an installation that goes on with the data
		record := *r.before
		record.State, record.Objects, record.Changed = Removed, nil, r.Now()
		return r.result, r.write(ctx, record)
	}
	if err := r.removeData(ctx); err != nil {
		return r.result, err
	}
	return r.result, r.remove(ctx, Ref{"v1", "ConfigMap", r.Namespace, RecordName})
}

// mayDelete refuses before anything is deleted, where a right is missing.
func (r *run) mayDelete(ctx context.Context, deleteData bool) error {
	rights, err := r.deletions(append(slices.Clone(r.before.Objects), Ref{"v1", "ConfigMap", r.Namespace, RecordName}))
	if err != nil {
		return err
	}
	if deleteData {
		for _, resource := range []string{"persistentvolumeclaims", "secrets"} {
			rights = append(rights, cluster.Right{Verb: "delete", Resource: resource, Namespace: r.Namespace})
		}
		rights = append(rights, cluster.Right{Verb: "list", Resource: "persistentvolumeclaims", Namespace: r.Namespace})
	}
	lacking, err := cluster.Lacking(ctx, r.Config, rights)
	if err != nil || len(lacking) == 0 {
		return err
	}
	findings := cluster.LackingFindings(lacking)
	r.Found(findings)
	return &RefusedError{findings}
}

// inOrder sorts objects as Install applies them.
func inOrder(refs []Ref) []Ref {
	parts := []string{names.NATS, names.Operator, names.Callout}
	place := func(ref Ref) int {
		if ref.Kind != "Deployment" && ref.Kind != "StatefulSet" {
			return -1
		}
		return slices.Index(parts, ref.Name) + 1 // what no part needs was last, and is first here
	}
	refs = slices.Clone(refs)
	slices.SortStableFunc(refs, func(a, b Ref) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		return rank(a.Kind) - rank(b.Kind)
	})
	return refs
}

func (r *run) remove(ctx context.Context, ref Ref) error {
	o := ref.Object()
	change, err := r.applier.Delete(ctx, o)
	if err != nil {
		return err
	}
	r.note(o, change)
	if change == apply.Deleted {
		r.say("uninstall", "%s deleted.", apply.Name(o))
	}
	return nil
}

// removeData deletes the volumes of the NATS servers, and what is made once.
func (r *run) removeData(ctx context.Context) error {
	claims, err := r.client.CoreV1().PersistentVolumeClaims(r.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: componentLabel + "=" + string(NATS) + ",app.kubernetes.io/name=" + appName,
	})
	if err != nil {
		return fmt.Errorf("claims in namespace %s: %w", r.Namespace, err)
	}
	var refs []Ref
	for _, c := range claims.Items {
		refs = append(refs, Ref{"v1", "PersistentVolumeClaim", r.Namespace, c.Name})
	}
	secrets := slices.Concat(credentials.Names(), []string{credentials.SecretAuthority, names.SecretAccounts, names.SecretTLS, names.SecretSealKey, names.SecretIntrospection})
	for _, name := range secrets {
		refs = append(refs, Ref{"v1", "Secret", r.Namespace, name})
	}
	refs = append(refs, Ref{"v1", "ConfigMap", r.Namespace, names.ConfigMapCA}, Ref{"v1", "ConfigMap", r.Namespace, names.ConfigMapIssuerCA})
	for _, ref := range refs {
		if err := r.remove(ctx, ref); err != nil {
			return err
		}
	}
	return nil
}
