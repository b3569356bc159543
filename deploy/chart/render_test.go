package chart_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	psapi "k8s.io/pod-security-admission/api"
	pspolicy "k8s.io/pod-security-admission/policy"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
)

// monitored is a cluster with the Prometheus operator.
var monitored = []string{"monitoring.coreos.com/v1", "monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule"}

// provider is what the callout needs to know.
func provider(more ...chart.Values) chart.Values {
	v := chart.Values{"callout": chart.Values{
		"issuer": "https://auth.example.com", "project": "1", "deviceOrganization": "2", "organizations": []any{"3"},
	}}
	for _, m := range more {
		maps.Copy(v, m)
	}
	return v
}

// renderings are the charts that most tests look at.
func renderings() map[string]chart.Options {
	return map[string]chart.Options{
		"production":            {Profile: "production", Values: provider()},
		"lab":                   {Profile: "lab", Values: provider()},
		"lab without provider":  {Profile: "lab", Values: chart.Values{"callout": chart.Values{"enabled": false}}},
		"OpenShift":             {Profile: "production", Values: provider(exposed("route", "devices.apps.example.com")), APIVersions: []string{"security.openshift.io/v1", "route.openshift.io/v1"}},
		"with monitoring":       {Profile: "production", Values: provider(), APIVersions: monitored},
		"by NodePort":           {Profile: "lab", Values: provider(exposed("nodePort", ""))},
		"by LoadBalancer":       {Profile: "production", Values: provider(exposed("loadBalancer", ""))},
		"by Ingress":            {Profile: "production", Values: provider(exposed("ingress", "devices.example.com"))},
		"Kubernetes 1.30":       {Profile: "production", Values: provider(), KubeVersion: "v1.30.0"},
		"another namespace":     {Profile: "production", Values: provider(), Namespace: "edge", Release: "edge"},
		"backups on a volume":   {Profile: "production", Values: provider(chart.Values{"backup": chart.Values{"enabled": true, "claim": "backups", "keepFor": "720h"}})},
		"with a dashboard":      {Profile: "production", Values: signIn(nil)},
		"all that can be given": {Profile: "production", Values: everything(), APIVersions: monitored},
	}
}

func exposed(how, host string) chart.Values {
	return chart.Values{"devices": chart.Values{"expose": how, "host": host}}
}

// everything gives each value that no profile gives.
func everything() chart.Values {
	scheduling := func() chart.Values {
		return chart.Values{
			"podAnnotations": chart.Values{"a": "b"}, "nodeSelector": chart.Values{"kubernetes.io/os": "linux"},
			"tolerations": []any{chart.Values{"key": "edge", "operator": "Exists"}},
		}
	}
	v := chart.Values{
		"imagePullSecrets": []any{"registry"}, "nats": scheduling(), "operator": scheduling(), "callout": scheduling(),
		"devices":       chart.Values{"expose": "loadBalancer", "loadBalancer": chart.Values{"class": "x.example.com/lb", "sourceRanges": []any{"10.0.0.0/8"}, "annotations": chart.Values{"a": "b"}}},
		"networkPolicy": chart.Values{"clients": []any{chart.Values{"podSelector": chart.Values{}}}, "devices": []any{chart.Values{"ipBlock": chart.Values{"cidr": "10.0.0.0/8"}}}, "dashboard": []any{chart.Values{"namespaceSelector": chart.Values{}}}},
		"monitoring":    chart.Values{"labels": chart.Values{"release": "prometheus"}},
		"backup": chart.Values{
			"enabled": true, "store": "s3://backups/fleet", "credentialsSecret": "store", "serviceAccountAnnotations": chart.Values{"a": "b"},
			"env": []any{chart.Values{"name": "AWS_ENDPOINT_URL_S3", "value": "https://s3.example.org"}},
		},
	}
	maps.Copy(v["nats"].(chart.Values), chart.Values{"storage": chart.Values{"class": "fast", "size": "1Ti", "maxFile": "900Gi"}, "tls": chart.Values{"routesSecret": "routes", "certManager": chart.Values{"issuer": "corporate", "kind": "Issuer", "duration": "720h", "renewBefore": "240h"}}})
	maps.Copy(v["operator"].(chart.Values), chart.Values{
		"logMaxBytes": 5 << 30, "env": []any{chart.Values{"name": "A", "value": "b"}},
		"dashboard": chart.Values{
			"enabled": true, "url": "https://fleet.example.com", "clientID": "7", "clientSecret": chart.Values{"name": "dashboard-client"},
			"ingress": chart.Values{"enabled": true, "className": "nginx", "tlsSecret": "dashboard-tls", "annotations": chart.Values{"a": "b"}},
		},
		"prometheus": []any{chart.Values{"name": "main", "url": "http://prometheus.monitoring:9090", "tokenSecret": "prometheus-token"}, chart.Values{"name": "other", "url": "https://p.example.com"}},
	})
	maps.Copy(v["callout"].(chart.Values), provider()["callout"].(chart.Values))
	maps.Copy(v["callout"].(chart.Values), chart.Values{
		"roles": []any{"viewer=person:viewer"}, "deviceRole": "edge", "deviceID": "device_id", "keysURL": "https://auth.example.com:9443/keys",
		"issuerCA": true, "introspection": true, "previousSeeds": true, "env": []any{chart.Values{"name": "A", "value": "b"}},
		"hostAliases": []any{chart.Values{"ip": "10.0.0.1", "hostnames": []any{"auth.example.com"}}},
	})
	return v
}

func render(t *testing.T, o chart.Options) []*unstructured.Unstructured {
	t.Helper()
	objects, err := chart.Render(o)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// find gives the object of a kind and name; nil for none.
func find(objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind && o.GetName() == name })
	if i < 0 {
		return nil
	}
	return objects[i]
}

// pods gives the pod template of each workload, by its name.
func pods(t *testing.T, objects []*unstructured.Unstructured) map[string]corev1.PodTemplateSpec {
	t.Helper()
	all := map[string]corev1.PodTemplateSpec{}
	for _, o := range objects {
		switch o.GetKind() {
		case "Deployment":
			all[o.GetName()] = typed[appsv1.Deployment](t, o).Spec.Template
		case "StatefulSet":
			all[o.GetName()] = typed[appsv1.StatefulSet](t, o).Spec.Template
		case "CronJob":
			all[o.GetName()] = typed[batchv1.CronJob](t, o).Spec.JobTemplate.Spec.Template
		}
	}
	return all
}

func typed[T any](t *testing.T, o *unstructured.Unstructured) *T {
	t.Helper()
	v := new(T)
	if o == nil {
		t.Fatalf("no %T is rendered", *v)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheFilesOfTheChartAreWhatIsMade(t *testing.T) {
	t.Parallel()
	files, err := chart.GeneratedFiles()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := fs.ReadFile(chart.Files(), path)
		if err != nil {
			t.Errorf("%v; run: make generate", err)
			continue
		}
		if string(got) != string(want) {
			t.Errorf("%s is not what the code makes; run: make generate", path)
		}
	}
	err = fs.WalkDir(chart.Files(), "files", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && files[path] == nil {
			t.Errorf("%s is made by nothing", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Each object is what its kind of Kubernetes' API has: a misspelt field is refused, and so
// is one that is given twice.
func TestEachObjectDecodesStrictly(t *testing.T) {
	t.Parallel()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for name, o := range renderings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := o.Namespace
			if namespace == "" {
				namespace = names.Namespace
			}
			seen := map[string]bool{}
			for _, object := range render(t, o) {
				id := object.GetKind() + " " + object.GetName()
				if seen[id] {
					t.Errorf("%s is there twice", id)
				}
				seen[id] = true
				if !strings.HasPrefix(object.GetKind(), "ClusterRole") && object.GetNamespace() != namespace {
					t.Errorf("%s is in namespace %q", id, object.GetNamespace())
				}
				if foreign(object) {
					continue
				}
				b, err := chart.YAML([]*unstructured.Unstructured{object})
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := decoder.Decode(b, nil, nil); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
}

// Pods pass Pod Security "restricted", by the evaluator of Kubernetes itself, with our users
// and with those that OpenShift puts in.
func TestPodsPassPodSecurityRestricted(t *testing.T) {
	t.Parallel()
	evaluator, err := pspolicy.NewEvaluator(pspolicy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}
	for name, o := range renderings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := pods(t, render(t, o))
			if len(all) < 2 {
				t.Fatalf("%d workloads are rendered", len(all))
			}
			for workload, p := range all {
				if r := pspolicy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &p.ObjectMeta, &p.Spec)); !r.Allowed {
					t.Errorf("%s: %s", workload, r.ForbiddenDetail())
				}
				for _, c := range p.Spec.Containers {
					if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
						t.Errorf("%s: the root file system of %s can be written", workload, c.Name)
					}
					if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
						t.Errorf("%s: %s requests no CPU or no memory", workload, c.Name)
					}
				}
				if token := p.Spec.AutomountServiceAccountToken; *token != (workload == names.Operator) {
					t.Errorf("%s: a token of its service account is mounted: %v", workload, *token)
				}
				s := p.Spec.SecurityContext
				if given := s.RunAsUser != nil || s.RunAsGroup != nil || s.FSGroup != nil; given == (name == "OpenShift") {
					t.Errorf("%s: users or groups are given: %v", workload, given)
				}
			}
		})
	}
}

// Services, budgets, monitors and policies select the pods that they are for.
func TestSelectorsSelectTheirPods(t *testing.T) {
	t.Parallel()
	objects := render(t, chart.Options{Profile: "production", Values: provider(exposed("nodePort", "")), APIVersions: monitored})
	all := pods(t, objects)
	want := map[string]string{
		"Service fleet-nats": names.NATS, "Service fleet-nats-headless": names.NATS, "Service fleet-devices": names.NATS,
		"Service fleet-operator": names.Operator, "Service fleet-callout": names.Callout,
		"PodDisruptionBudget fleet-nats": names.NATS, "PodDisruptionBudget fleet-operator": names.Operator, "PodDisruptionBudget fleet-callout": names.Callout,
		"NetworkPolicy fleet-nats": names.NATS, "NetworkPolicy fleet-operator": names.Operator, "NetworkPolicy fleet-callout": names.Callout,
		"NetworkPolicy fleet-default-deny": "fleet-callout fleet-nats fleet-operator", "NetworkPolicy fleet-dns": "fleet-callout fleet-nats fleet-operator",
	}
	got := map[string]string{}
	for _, o := range objects {
		path := map[string][]string{"Service": {"spec", "selector"}, "PodDisruptionBudget": {"spec", "selector", "matchLabels"}, "NetworkPolicy": {"spec", "podSelector", "matchLabels"}}[o.GetKind()]
		if path == nil {
			continue
		}
		selector, _, err := unstructured.NestedStringMap(o.Object, path...)
		if err != nil {
			t.Fatal(err)
		}
		var selected []string
		for workload, p := range all {
			if labels := p.Labels; len(selector) > 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(selector)), func(k string) bool { return labels[k] != selector[k] }) {
				selected = append(selected, workload)
			}
		}
		slices.Sort(selected)
		got[o.GetKind()+" "+o.GetName()] = strings.Join(selected, " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who selects whom (-want +got):\n%s", diff)
	}
}

// What a pod names is in the chart, or among the Secrets and ConfigMaps that names lists; and
// each of its keys is one of theirs.
func TestPodsNeedOnlyWhatIsListed(t *testing.T) {
	t.Parallel()
	want := []string{
		"ConfigMap fleet-ca", "ConfigMap fleet-callout", "ConfigMap fleet-issuer-ca", "ConfigMap fleet-nats", "Secret dashboard-client client-secret",
		"Secret fleet-callout-introspection key.json", "Secret fleet-callout-nats auth-password", "Secret fleet-callout-nats issuer-previous.seed",
		"Secret fleet-callout-nats issuer.seed", "Secret fleet-callout-nats log-password", "Secret fleet-callout-nats sys-password",
		"Secret fleet-callout-nats xkey-previous.seed", "Secret fleet-callout-nats xkey.seed",
		"Secret fleet-nats-accounts", "Secret fleet-nats-admin password", "Secret fleet-nats-admin user", "Secret fleet-nats-tls", "Secret fleet-operator-nats password", "Secret fleet-operator-nats user",
		"Secret prometheus-token token", "Secret routes", "Secret store",
	}
	needed := map[string]bool{}
	for _, p := range pods(t, render(t, renderings()["all that can be given"])) {
		for _, v := range p.Spec.Volumes {
			if v.ConfigMap != nil {
				needed["ConfigMap "+v.ConfigMap.Name] = true
			}
			if v.Secret != nil && len(v.Secret.Items) == 0 {
				needed["Secret "+v.Secret.SecretName] = true
			}
			if v.Secret != nil {
				for _, i := range v.Secret.Items {
					needed["Secret "+v.Secret.SecretName+" "+i.Key] = true
				}
			}
			if v.Projected != nil {
				for _, s := range v.Projected.Sources {
					if s.ConfigMap != nil {
						needed["ConfigMap "+s.ConfigMap.Name] = true
					}
					if s.Secret != nil {
						needed["Secret "+s.Secret.Name] = true
					}
				}
			}
		}
		for _, e := range p.Spec.Containers[0].EnvFrom {
			needed["Secret "+e.SecretRef.Name] = true
		}
		for _, e := range p.Spec.Containers[0].Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				needed["Secret "+e.ValueFrom.SecretKeyRef.Name+" "+e.ValueFrom.SecretKeyRef.Key] = true
			}
		}
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(needed))); diff != "" {
		t.Errorf("what the pods need (-want +got):\n%s", diff)
	}
}

func TestMonitoringIsMadeWhereItsAPIIs(t *testing.T) {
	t.Parallel()
	kinds := func(o chart.Options) (n int) {
		for _, object := range render(t, o) {
			if object.GetAPIVersion() == "monitoring.coreos.com/v1" || object.GetKind() == "ConfigMap" && strings.HasPrefix(object.GetName(), "fleet-dashboard-") {
				n++
			}
		}
		return n
	}
	const all = 2 + 1 + 4 // ServiceMonitors, rules, dashboards
	off := provider(chart.Values{"monitoring": chart.Values{"serviceMonitors": false, "rules": false, "dashboards": false}})
	on := provider(chart.Values{"monitoring": chart.Values{"serviceMonitors": true, "rules": true, "dashboards": true}})
	for name, tt := range map[string]struct {
		options chart.Options
		want    int
	}{
		"auto, without the API": {chart.Options{Values: provider()}, 0},
		"auto, with the API":    {chart.Options{Values: provider(), APIVersions: monitored}, all},
		"on, without the API":   {chart.Options{Values: on}, all},
		"off, with the API":     {chart.Options{Values: off, APIVersions: monitored}, 0},
	} {
		if got := kinds(tt.options); got != tt.want {
			t.Errorf("%s: %d objects, want %d", name, got, tt.want)
		}
	}
}

// A change of a ConfigMap that a process reads at its start alone replaces the pods.
func TestAChangedConfigurationReplacesThePods(t *testing.T) {
	t.Parallel()
	const annotation = "fleet.nationtech.io/config"
	one := pods(t, render(t, chart.Options{Values: provider()}))
	other := provider(exposed("ingress", "devices.example.com"))
	other["callout"].(chart.Values)["project"] = "9"
	two := pods(t, render(t, chart.Options{Values: other}))
	for _, workload := range []string{names.NATS, names.Callout} {
		if a, b := one[workload].Annotations[annotation], two[workload].Annotations[annotation]; a == "" || a == b {
			t.Errorf("%s: annotation %q, then %q", workload, a, b)
		}
	}
}

// Nothing is left of what Helm's lint has to say.
func TestHelmLintIsClean(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "fleet")
	if err := os.CopyFS(dir, chart.Files()); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"v1.30.0", "v1.34.0", "v1.37.2"} {
		kube, err := chartutil.ParseKubeVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range map[string]chart.Values{"production": provider(), "everything": everything()} {
			for _, m := range lint.AllWithKubeVersion(dir, values, names.Namespace, kube).Messages {
				if m.Severity > support.InfoSev { // Info: no icon
					t.Errorf("%s, %s: %s", version, name, m)
				}
			}
		}
	}
}

func TestAnOldClusterIsRefused(t *testing.T) {
	t.Parallel()
	_, err := chart.Render(chart.Options{Values: provider(), KubeVersion: "v1.28.3+k3s1"})
	if err == nil || !strings.Contains(err.Error(), "this chart needs >=1.30.0-0") {
		t.Errorf("got %v", err)
	}
}
