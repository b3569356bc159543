package provider

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	fleetchart "fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/install/cluster"
)

// releaseName is that of the release, as its objects' labels and names have it.
const releaseName = "zitadel"

// knownMajor is the major version of the chart whose values these are.
const knownMajor = "9"

// load reads Zitadel's chart.
func load(path string) (*chart.Chart, error) {
	c, err := loader.Load(path)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", path, err)
	}
	switch {
	case c.Metadata.Name != "zitadel":
		return nil, fmt.Errorf("chart %s is %s, and not zitadel", path, c.Metadata.Name)
	case major(c.Metadata.Version) != knownMajor:
		return nil, fmt.Errorf("chart %s is of version %s: this fleetctl knows version %s; take one of those, such as by helm pull zitadel/zitadel --version ^%s", path, c.Metadata.Version, knownMajor, knownMajor)
	}
	return c, nil
}

func major(version string) string {
	before, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	return before
}

// release is what a chart renders to.
type release struct {
	before, after []*unstructured.Unstructured // hooks, in order
	objects       []*unstructured.Unstructured // in order
}

// rendered renders the chart as Helm does, for the first installation or an upgrade.
func rendered(c *chart.Chart, over fleetchart.Values, namespace string, f cluster.Facts, upgrade bool) (release, error) {
	var r release
	fail := func(err error) (release, error) { return r, fmt.Errorf("chart zitadel: %w", err) }
	capabilities := chartutil.DefaultCapabilities.Copy()
	version, err := chartutil.ParseKubeVersion(f.Version)
	if err != nil {
		return fail(fmt.Errorf("version of Kubernetes %q: %w", f.Version, err))
	}
	capabilities.KubeVersion = *version
	capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), f.APIVersions...)
	if c.Metadata.KubeVersion != "" && !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, version.Version) {
		return fail(fmt.Errorf("the cluster's Kubernetes is %s, and the chart needs %s", version.Version, c.Metadata.KubeVersion))
	}
	if err := chartutil.ProcessDependenciesWithMerge(c, over); err != nil {
		return fail(err)
	}
	options := chartutil.ReleaseOptions{Name: releaseName, Namespace: namespace, Revision: 1, IsInstall: !upgrade, IsUpgrade: upgrade}
	// The chart's schema refers to another one in the internet, so that it cannot be checked everywhere.
	v, err := chartutil.ToRenderValuesWithSchemaValidation(c, over, options, capabilities, true)
	if err != nil {
		return fail(err)
	}
	files, err := engine.Render(c, v)
	if err != nil {
		return fail(err)
	}
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasSuffix(name, ".txt") })
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return fail(err)
	}
	for _, m := range manifests {
		o, err := parsed(m.Content, namespace)
		if err != nil {
			return fail(fmt.Errorf("%s: %w", m.Name, err))
		}
		if o == nil { // a file of comments
			continue
		}
		r.objects = append(r.objects, adoptable(o, namespace))
	}
	before, after := helmrelease.HookPreInstall, helmrelease.HookPostInstall
	if upgrade {
		before, after = helmrelease.HookPreUpgrade, helmrelease.HookPostUpgrade
	}
	if r.before, err = hooksOf(hooks, before, namespace); err != nil {
		return fail(err)
	}
	if r.after, err = hooksOf(hooks, after, namespace); err != nil {
		return fail(err)
	}
	return r, nil
}

// hooksOf gives the hooks of an event: by their weights, and what Jobs need before them.
func hooksOf(all []*helmrelease.Hook, event helmrelease.HookEvent, namespace string) ([]*unstructured.Unstructured, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(h *helmrelease.Hook) bool { return !slices.Contains(h.Events, event) })
	rank := func(h *helmrelease.Hook) int {
		if h.Kind == "Job" {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b *helmrelease.Hook) int {
		return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	objects := make([]*unstructured.Unstructured, 0, len(all))
	for _, h := range all {
		o, err := parsed(h.Manifest, namespace)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.Path, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// parsed reads a manifest; nil where there is no object in it.
func parsed(text, namespace string) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		return nil, err
	}
	if len(o.Object) == 0 {
		return nil, nil
	}
	if o.GetKind() == "" || o.GetName() == "" {
		return nil, errors.New("it is no object with a kind and a name")
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(namespace)
	}
	return o, telling(o)
}

// telling has containers that fail give the end of their log as the reason.
func telling(o *unstructured.Unstructured) error {
	for _, list := range []string{"initContainers", "containers"} {
		path := []string{"spec", "template", "spec", list}
		containers, found, err := unstructured.NestedSlice(o.Object, path...)
		if err != nil || !found {
			continue // it makes no pods
		}
		for _, c := range containers {
			if c, is := c.(map[string]any); is && c["terminationMessagePolicy"] == nil {
				c["terminationMessagePolicy"] = "FallbackToLogsOnError"
			}
		}
		if err := unstructured.SetNestedSlice(o.Object, containers, path...); err != nil {
			return err
		}
	}
	return nil
}

// adoptable marks an object as one of Helm's release of that name, so that helm can take
// the release over later.
func adoptable(o *unstructured.Unstructured, namespace string) *unstructured.Unstructured {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations["meta.helm.sh/release-name"], annotations["meta.helm.sh/release-namespace"] = releaseName, namespace
	o.SetAnnotations(annotations)
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["app.kubernetes.io/managed-by"] = "Helm"
	o.SetLabels(labels)
	return o
}
