package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/Masterminds/semver/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/install/cluster"
)

// preflight says what was found, and refuses where something stands in the way.
func (r *run) preflight(ctx context.Context) error {
	if old, is := cluster.TooOld(r.facts); is {
		r.Found([]cluster.Finding{old})
		return &RefusedError{[]cluster.Finding{old}}
	}
	lacking, err := cluster.Lacking(ctx, r.Config, r.readingRights())
	if err != nil {
		return err
	}
	var findings []cluster.Finding
	if len(lacking) == 0 { // what follows reads the cluster's objects
		if findings, err = r.databaseFindings(ctx); err != nil {
			return err
		}
		if err := r.render(); err != nil {
			return err
		}
		if lacking, err = cluster.Lacking(ctx, r.Config, r.rights()); err != nil {
			return err
		}
		there, err := r.thereFindings(ctx)
		if err != nil {
			return err
		}
		findings = slices.Concat(findings, there, r.ingressFindings())
	}
	findings = slices.Concat(findings, cluster.Preflight(r.facts, cluster.Wish{Lacking: lacking}))
	r.result.Findings = findings
	r.Found(findings)
	refused := slices.DeleteFunc(slices.Clone(findings), func(f cluster.Finding) bool { return f.Level != cluster.Refuse })
	if len(refused) > 0 {
		return &RefusedError{refused}
	}
	return nil
}

func (r *run) render() error {
	v, err := values(r.Wanted, r.facts.Distribution == cluster.OpenShift, r.database, r.record.Born)
	if err != nil {
		return err
	}
	r.release, err = rendered(r.chart, v, r.Namespace, r.facts, r.record.Installed)
	return err
}

// all lists what is applied.
func (r *run) all() []*unstructured.Unstructured {
	return slices.Concat(r.release.before, r.release.objects, r.release.after)
}

func (r *run) readingRights() []cluster.Right {
	return []cluster.Right{
		{Verb: "get", Resource: "namespaces"},
		{Verb: "create", Resource: "namespaces"},
		{Verb: "patch", Resource: "namespaces"},
		{Verb: "get", Resource: "configmaps", Namespace: r.Namespace},
		{Verb: "get", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "list", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "create", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "delete", Resource: "secrets", Namespace: r.Namespace},
		{Verb: "delete", Group: "batch", Resource: "jobs", Namespace: r.Namespace},
		{Verb: "list", Resource: "pods", Namespace: r.Namespace},
		{Verb: "list", Resource: "events", Namespace: r.Namespace},
		{Verb: "list", Resource: "persistentvolumeclaims", Namespace: r.Namespace},
		{Verb: "list", Group: "apps", Resource: "replicasets", Namespace: r.Namespace},
	}
}

// rights are what the installation does in the cluster.
func (r *run) rights() []cluster.Right {
	rights := r.readingRights()
	for _, o := range r.all() {
		resource, namespaced, err := r.applier.ResourceOf(o)
		if err != nil {
			continue // its own step says what the cluster does not serve
		}
		namespace := ""
		if namespaced {
			namespace = o.GetNamespace()
		}
		for _, verb := range []string{"get", "create", "patch"} {
			rights = append(rights, cluster.Right{Verb: verb, Group: resource.Group, Resource: resource.Resource, Namespace: namespace})
		}
	}
	return rights
}

// thereFindings says where what is there does not go together with what is wished.
func (r *run) thereFindings(ctx context.Context) ([]cluster.Finding, error) {
	var all []cluster.Finding
	refuse := func(remedy, format string, args ...any) {
		all = append(all, cluster.Finding{Level: cluster.Refuse, Sentence: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	if r.facts.Namespace.Exists {
		helm, err := r.client.CoreV1().Secrets(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name=" + releaseName})
		if err != nil {
			return nil, fmt.Errorf("releases of Helm in namespace %s: %w", r.Namespace, err)
		}
		if len(helm.Items) > 0 {
			refuse("Keep it up by helm upgrade, and use fleetctl zitadel setup; or choose another --namespace.", "Helm has a release %s in namespace %s.", releaseName, r.Namespace)
		}
	}
	if name := r.Wanted.TLSSecret; name != "" {
		there, err := r.read(ctx, name)
		if err != nil {
			return nil, err
		}
		if there == nil {
			refuse("kubectl -n "+r.Namespace+" create secret tls "+name+" --cert=FILE --key=FILE", "The provider's certificate, Secret %s/%s, is not there.", r.Namespace, name)
		}
	}
	b := r.before
	if b == nil {
		return all, nil
	}
	if b.Issuer != r.Wanted.Issuer {
		refuse("--issuer "+b.Issuer, "The provider is installed as %s, and %s is wished. The address is in each device's configuration and in the provider's own data.", b.Issuer, r.Wanted.Issuer)
	}
	if older(r.record.Version, b.Version) {
		refuse("Take chart "+b.Version+" or a newer one.", "Chart %s is installed, and %s is older. Zitadel's database does not go back.", b.Version, r.record.Version)
	}
	if b.Installed {
		masterkey, err := r.read(ctx, MasterkeySecret)
		if err != nil {
			return nil, err
		}
		if masterkey == nil {
			refuse("Put it back from your copy. Without it the database is of no use: drop it, and delete namespace "+r.Namespace+".", "Secret %s is gone. It was made once, and the provider's database cannot be read with another one.", MasterkeySecret)
		}
		config, err := r.read(ctx, ConfigSecret)
		if err != nil {
			return nil, err
		}
		if config == nil {
			all = append(all, cluster.Finding{
				Level:    cluster.Warn,
				Sentence: fmt.Sprintf("Secret %s is gone, and with it the first person's password. The one that is made now is not the provider's, and the Secret says so.", ConfigSecret),
				Remedy:   "Put it back from your copy. Without one, who knows the password still signs in; another person with the role IAM_OWNER sets a new one in the console.",
			})
		}
	}
	return all, nil
}

// older says whether a version is below another one; what is no version is not.
func older(version, than string) bool {
	a, errA := semver.NewVersion(version)
	b, errB := semver.NewVersion(than)
	return errors.Join(errA, errB) == nil && a.LessThan(b)
}

// ingressFindings says how the provider is reached from outside, where that is not sure.
func (r *run) ingressFindings() []cluster.Finding {
	if !slices.ContainsFunc(r.release.objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Ingress" }) {
		return nil
	}
	classes := r.facts.IngressClasses
	wanted := r.Wanted.IngressClass
	var names []string
	isThere := false
	for _, c := range classes {
		names = append(names, c.Name)
		isThere = isThere || c.Name == wanted || wanted == "" && c.Default
	}
	switch {
	case isThere, slices.ContainsFunc(r.facts.Unread, func(u cluster.Unread) bool { return u.What == "ingress classes" }):
	case len(classes) == 0:
		return []cluster.Finding{{
			Level: cluster.Refuse, Sentence: "The cluster has no ingress controller: nobody would reach the provider.",
			Remedy: "Install one, or expose it yourself: --set ingress.enabled=false,login.ingress.enabled=false, and values for gateway.httpRoute or a Service.",
		}}
	default:
		said := "none of its ingress classes is the default one"
		if wanted != "" {
			said = "ingress class " + wanted + " is not among them"
		}
		return []cluster.Finding{{Level: cluster.Refuse, Sentence: fmt.Sprintf("The cluster has the ingress classes %v, and %s.", names, said), Remedy: "--ingress-class " + names[0]}}
	}
	at, err := r.Wanted.outside()
	if err == nil && at.secure && r.Wanted.TLSSecret == "" && r.facts.Distribution != cluster.OpenShift {
		return []cluster.Finding{{
			Level: cluster.Warn, Sentence: "The provider's ingress names no certificate: devices and browsers see the controller's own one.",
			Remedy: "--tls-secret NAME, of a Secret with the certificate of " + at.domain + ".",
		}}
	}
	return nil
}
