package gitops_test

import (
	"bytes"
	"errors"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install"
)

// Both tools install the same: the chart's production profile with values that the chart
// takes.
func TestBothToolsInstallTheChartWithValuesThatItTakes(t *testing.T) {
	t.Parallel()
	flux, argo := sample(t, "HelmRelease fleet"), sample(t, "Application fleet-server")
	fluxValues := values(t, flux, "spec", "values")
	if d := cmp.Diff(fluxValues, values(t, argo, "spec", "source", "helm", "valuesObject")); d != "" {
		t.Errorf("values (-Flux +Argo CD):\n%s", d)
	}
	if _, err := chart.Effective(chart.Options{Profile: "production", Values: fluxValues}); err != nil {
		t.Error(err)
	}
	folder := text(t, argo, "spec", "source", "path")
	if got := path.Clean(text(t, flux, "spec", "chart", "spec", "chart")); got != folder {
		t.Errorf("Flux takes the chart %s, and Argo CD %s", got, folder)
	}
	read(t, folder+"/Chart.yaml")
	want := []string{"values.yaml", "profiles/production.yaml"}
	var files []string
	for _, file := range texts(t, flux, "spec", "chart", "spec", "valuesFiles") {
		files = append(files, strings.TrimPrefix(path.Clean(file), folder+"/"))
	}
	if d := cmp.Diff(want, files); d != "" {
		t.Errorf("Flux' files of values (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want[1:], texts(t, argo, "spec", "source", "helm", "valueFiles")); d != "" { // values.yaml goes without saying
		t.Errorf("Argo CD's files of values (-want +got):\n%s", d)
	}
	for _, file := range want {
		read(t, folder+"/"+file)
	}
	for what, namespace := range map[string]string{
		"Flux": text(t, flux, "spec", "targetNamespace"), "Argo CD": text(t, argo, "spec", "destination", "namespace"),
		"the Namespace": sample(t, "Namespace "+names.Namespace).GetName(),
	} {
		if namespace != names.Namespace {
			t.Errorf("%s has namespace %s", what, namespace)
		}
	}
}

// Chart, definitions and images are of one version.
func TestAllIsOfOneVersion(t *testing.T) {
	t.Parallel()
	version := text(t, sample(t, "GitRepository harmony-fleet"), "spec", "ref", "tag")
	for _, app := range []string{"fleet-crds", "fleet-server"} {
		if got := text(t, sample(t, "Application "+app), "spec", "source", "targetRevision"); got != version {
			t.Errorf("Argo CD's %s is of %s, and Flux' of %s", app, got, version)
		}
	}
	release := sample(t, "HelmRelease fleet")
	for _, image := range []string{"operator", "callout", "fleetctl"} {
		if got := text(t, release, "spec", "values", "images", image); !strings.HasSuffix(got, ":"+version) {
			t.Errorf("image %s is %s, and all else of %s", image, got, version)
		}
	}
}

// What the pods mount and read is rendered by the chart or made by fleetctl credentials;
// but the store's keys, which the samples say to add.
func TestThePodsFindTheirSecrets(t *testing.T) {
	t.Parallel()
	values := values(t, sample(t, "HelmRelease fleet"), "spec", "values")
	rendered, err := chart.Render(chart.Options{Profile: "production", Values: values})
	if err != nil {
		t.Fatal(err)
	}
	made, _, err := install.Manifest{Namespace: names.Namespace, Outside: []string{"devices.example.com"}, Callout: true, Now: time.Now()}.Complete(nil)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{"Secret fleet-backup-store": true}
	for _, o := range append(rendered, decoded(t, made)...) {
		there[o.GetKind()+" "+o.GetName()] = true
	}
	wanted := map[string]bool{}
	for _, o := range rendered {
		references(o.Object, wanted)
	}
	for ref := range wanted {
		if !there[ref] {
			t.Errorf("a pod needs %s, which nothing makes", ref)
		}
	}
	for _, ref := range []string{"Secret " + names.SecretAccounts, "Secret fleet-backup-store", "ConfigMap " + names.ConfigMapCA} {
		if !wanted[ref] {
			t.Errorf("no pod needs %s, so the test proves nothing", ref)
		}
	}
}

func decoded(t *testing.T, file []byte) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(file), 4096); ; {
		o := &unstructured.Unstructured{}
		err := documents.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
}

// references finds the Secrets and ConfigMaps that a pod's template names.
func references(v any, found map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			references(item, found)
		}
	case map[string]any:
		for key, item := range v {
			m, _ := item.(map[string]any)
			switch key {
			case "secret":
				note(found, "Secret", m["secretName"], m["optional"])
				note(found, "Secret", m["name"], m["optional"]) // of a projected volume
			case "secretKeyRef", "secretRef":
				note(found, "Secret", m["name"], m["optional"])
			case "configMap", "configMapKeyRef", "configMapRef":
				note(found, "ConfigMap", m["name"], m["optional"])
			}
			references(item, found)
		}
	}
}

func note(found map[string]bool, kind string, name, optional any) {
	if s, ok := name.(string); ok && optional != true {
		found[kind+" "+s] = true
	}
}
