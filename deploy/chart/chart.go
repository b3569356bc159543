// Package chart holds the Helm chart of the fleet's server side, and renders it with Helm's
// own engine, in process.
package chart

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/chart/names"
)

//go:embed all:fleet
var embedded embed.FS

const (
	root        = "fleet" // folder of the chart in embedded
	profilesDir = "profiles"
)

// Files is the chart's folder: what helm takes as a chart.
func Files() fs.FS {
	sub, err := fs.Sub(embedded, root)
	if err != nil {
		panic(err) // the name is a constant
	}
	return sub
}

// Values are a chart's values, as Helm has them.
type Values = map[string]any

// Profiles lists the chart's own sets of values.
func Profiles() []string {
	entries, err := fs.ReadDir(Files(), profilesDir)
	if err != nil {
		panic(err) // the folder is embedded
	}
	var all []string
	for _, e := range entries {
		all = append(all, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return all
}

// Profile gives the values of a profile.
func Profile(name string) (Values, error) {
	if !slices.Contains(Profiles(), name) {
		return nil, fmt.Errorf("there is no profile %q: the chart has %s", name, strings.Join(Profiles(), " and "))
	}
	b, err := fs.ReadFile(Files(), path.Join(profilesDir, name+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", name, err)
	}
	var v Values
	if err := yaml.UnmarshalStrict(b, &v); err != nil {
		return nil, fmt.Errorf("profile %s: %w", name, err)
	}
	return v, nil
}

// Options say what is rendered.
type Options struct {
	Release   string // the release's name, which labels carry; "": fleet
	Namespace string // "": names.Namespace
	Profile   string // "": the chart's values alone
	Values    Values // stronger than the profile's
	// KubeVersion is the cluster's version, as v1.34.1; "": the newest that the chart knows.
	KubeVersion string
	// APIVersions are what the cluster serves beside Kubernetes' own: groups and versions, and
	// with the kind, as monitoring.coreos.com/v1 and monitoring.coreos.com/v1/ServiceMonitor.
	APIVersions []string
	Upgrade     bool // not the first installation
}

// newestKube is what a cluster is taken for whose version is not given.
const newestKube = "v1.37.2"

// Effective gives the values that Render uses: the chart's, with the profile's and then
// Options.Values over them.
//
// Errors: values that the chart's schema refuses, each with a sentence.
func Effective(o Options) (Values, error) {
	c, err := load()
	if err != nil {
		return nil, err
	}
	v, err := values(c, o)
	if err != nil {
		return nil, err
	}
	return v["Values"].(chartutil.Values), nil
}

// Render gives the objects of the chart in the order in which Helm installs them. Each has its
// namespace.
//
// Errors: values that the chart's schema or its templates refuse, each with a sentence.
func Render(o Options) ([]*unstructured.Unstructured, error) {
	c, err := load()
	if err != nil {
		return nil, err
	}
	v, err := values(c, o)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Render(c, v)
	if err != nil {
		return nil, fmt.Errorf("chart fleet: %w", plain(err))
	}
	for name := range rendered {
		if strings.HasSuffix(name, ".txt") {
			delete(rendered, name)
		}
	}
	_, manifests, err := releaseutil.SortManifests(rendered, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("chart fleet: %w", err)
	}
	objects := make([]*unstructured.Unstructured, 0, len(manifests))
	for _, m := range manifests {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(m.Content), &u.Object); err != nil {
			return nil, fmt.Errorf("chart fleet: %s: %w", m.Name, err)
		}
		objects = append(objects, u)
	}
	return objects, nil
}

// YAML writes objects as kubectl and kustomize read them.
func YAML(objects []*unstructured.Unstructured) ([]byte, error) {
	var out bytes.Buffer
	for i, o := range objects {
		if i > 0 {
			out.WriteString("---\n")
		}
		b, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
		out.Write(b)
	}
	return out.Bytes(), nil
}

func load() (*chart.Chart, error) {
	var files []*loader.BufferedFile
	err := fs.WalkDir(Files(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(Files(), p)
		files = append(files, &loader.BufferedFile{Name: p, Data: b})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("chart fleet: %w", err)
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("chart fleet: %w", err)
	}
	return c, nil
}

// values are what templates see, checked by the schema.
func values(c *chart.Chart, o Options) (chartutil.Values, error) {
	over := Values{}
	if o.Profile != "" {
		p, err := Profile(o.Profile)
		if err != nil {
			return nil, err
		}
		over = p
	}
	over = Merge(over, o.Values)
	capabilities, err := o.capabilities()
	if err != nil {
		return nil, err
	}
	if !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, capabilities.KubeVersion.Version) {
		return nil, fmt.Errorf("the cluster's Kubernetes is %s; this chart needs %s", capabilities.KubeVersion.Version, c.Metadata.KubeVersion)
	}
	release := chartutil.ReleaseOptions{
		Name: cmp.Or(o.Release, "fleet"), Namespace: cmp.Or(o.Namespace, names.Namespace), Revision: 1, IsInstall: !o.Upgrade, IsUpgrade: o.Upgrade,
	}
	v, err := chartutil.ToRenderValuesWithSchemaValidation(c, over, release, capabilities, true)
	if err != nil {
		return nil, fmt.Errorf("chart fleet: %w", err)
	}
	if err := checkSchema(c, v["Values"].(chartutil.Values)); err != nil {
		return nil, err
	}
	return v, nil
}

func (o Options) capabilities() (*chartutil.Capabilities, error) {
	version, err := chartutil.ParseKubeVersion(cmp.Or(o.KubeVersion, newestKube))
	if err != nil {
		return nil, fmt.Errorf("version of Kubernetes %q: %w", o.KubeVersion, err)
	}
	c := chartutil.DefaultCapabilities.Copy()
	c.KubeVersion = *version
	c.APIVersions = append(slices.Clone(c.APIVersions), o.APIVersions...)
	return c, nil
}

// Merge lays values over others, in depth, and leaves both as they are. A null removes, as
// for Helm.
func Merge(under, over Values) Values {
	out := Values{}
	maps.Copy(out, under)
	for k, v := range over {
		a, aMap := out[k].(Values)
		b, bMap := v.(Values)
		if aMap && bMap {
			v = Merge(a, b)
		}
		out[k] = v
	}
	return out
}

// raised is how Helm's engine tells an error that a template raised itself.
var raised = regexp.MustCompile(`execution error at \([^)]*\): (.*)`)

// plain takes the path of the template off an error that a template raised itself, whose
// sentence is for who wrote the values.
func plain(err error) error {
	if m := raised.FindStringSubmatch(err.Error()); m != nil {
		return errors.New(m[1])
	}
	return err
}
