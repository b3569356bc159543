package chart_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/conf"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	psapi "k8s.io/pod-security-admission/api"
	pspolicy "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
)

// official renders the official NATS chart with the values of nats-values.yaml.
func official(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	c, err := loader.Load("testdata/nats")
	if err != nil {
		t.Fatal(err)
	}
	values, err := chartutil.ReadValuesFile("nats-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	v, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "nats", Namespace: names.Namespace}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(c, v)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for path, text := range files {
		for _, doc := range strings.Split(text, "\n---\n") {
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if len(u.Object) > 0 {
				objects = append(objects, u)
			}
		}
	}
	return objects
}

// configuration is what a server reads of a rendered nats.conf and its accounts, laid out as in
// the pod.
func configuration(t *testing.T, objects []*unstructured.Unstructured, configMap, includes string) map[string]any {
	t.Helper()
	text, _, err := unstructured.NestedString(find(objects, "ConfigMap", configMap).Object, "data", "nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "nats-config", "nats.conf")
	users, err := accounts.Render(accounts.Users{Operator: accounts.Login{User: "operator", Password: "o"}}, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{file: []byte(text), filepath.Join(dir, "nats-config", includes): users} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := conf.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The official chart, with our values, makes the configuration that our chart makes. Not
// parallel: the configuration reads the environment.
func TestTheOfficialChartMakesTheSameConfiguration(t *testing.T) {
	ours := render(t, chart.Options{Profile: "production", Values: provider()})
	for _, e := range pods(t, ours)[names.NATS].Spec.Containers[0].Env {
		t.Setenv(e.Name, e.Value)
	}
	t.Setenv("POD_NAME", "fleet-nats-0")
	t.Setenv("SERVER_NAME", "fleet-nats-0")
	want := configuration(t, ours, names.NATS, "accounts.conf")
	got := configuration(t, official(t), "fleet-nats-config", "../nats-accounts/accounts.conf")

	// What differs in words, and not in what it does.
	delete(got, "pid_file")               // by which the official chart's pods signal their server
	delete(got, "lame_duck_grace_period") // 10s, the server's default
	if got["http_port"] != int64(names.PortMonitor) || want["http"] != ":8222" {
		t.Errorf("monitoring at %v and %v", got["http_port"], want["http"])
	}
	delete(got, "http_port")
	delete(want, "http")
	routes := got["cluster"].(map[string]any)["routes"].([]any)
	for i, r := range routes {
		routes[i] = strings.NewReplacer("tls://", "nats://", ".svc.cluster.local:", ".svc:").Replace(r.(string))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-ours +official):\n%s", diff)
	}
}

// The official chart's pods pass Pod Security "restricted", and the policies and Services of
// our chart without servers select them.
func TestTheOfficialChartsPodsFitIn(t *testing.T) {
	t.Parallel()
	objects := official(t)
	set := typed[appsv1.StatefulSet](t, find(objects, "StatefulSet", names.NATS))
	evaluator, err := pspolicy.NewEvaluator(pspolicy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}
	if r := pspolicy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &set.Spec.Template.ObjectMeta, &set.Spec.Template.Spec)); !r.Allowed {
		t.Error(r.ForbiddenDetail())
	}
	if len(set.Spec.Template.Spec.Containers) != 1 {
		t.Errorf("%d containers: a reloader would reload all servers at once", len(set.Spec.Template.Spec.Containers))
	}
	for _, name := range []string{names.NATS, names.NATSHeadless} {
		if find(objects, "Service", name) == nil {
			t.Errorf("there is no Service %s", name)
		}
	}
	ours := render(t, chart.Options{Profile: "production", Values: provider(exposed("loadBalancer", ""), chart.Values{"nats": chart.Values{"enabled": false}})})
	if find(ours, "StatefulSet", names.NATS) != nil || find(ours, "Service", names.NATS) != nil {
		t.Error("our chart makes servers, too")
	}
	for kind, path := range map[string][]string{"Service": {"spec", "selector"}, "NetworkPolicy": {"spec", "podSelector", "matchLabels"}} {
		name := map[string]string{"Service": names.Devices, "NetworkPolicy": names.NATS}[kind]
		selector, _, err := unstructured.NestedStringMap(find(ours, kind, name).Object, path...)
		if err != nil {
			t.Fatal(err)
		}
		labels := set.Spec.Template.Labels
		if slices.ContainsFunc(slices.Collect(maps.Keys(selector)), func(k string) bool { return labels[k] != selector[k] }) {
			t.Errorf("%s %s selects %v, and the pods have %v", kind, name, selector, labels)
		}
	}
}
