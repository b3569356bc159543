package provider

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	psapi "k8s.io/pod-security-admission/api"
	pspolicy "k8s.io/pod-security-admission/policy"

	fleetchart "fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/install/cluster"
)

func renderedFor(t *testing.T, w Wanted, openShift, upgrade bool) release {
	t.Helper()
	c, err := load("testdata/zitadel")
	if err != nil {
		t.Fatal(err)
	}
	if w.Issuer == "" {
		w.Issuer = "https://auth.example.com"
	}
	w.DatabaseSecret, w.Replicas = "database", 2
	v, err := values(w, openShift, database{ownCA: true}, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	r, err := rendered(c, v, Namespace, cluster.Facts{Version: "v1.34.1"}, upgrade)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// podsOf gives the pod of each Job and Deployment.
func podsOf(t *testing.T, objects []*unstructured.Unstructured) map[string]corev1.PodSpec {
	t.Helper()
	all := map[string]corev1.PodSpec{}
	for _, o := range objects {
		template, found, err := unstructured.NestedMap(o.Object, "spec", "template", "spec")
		if err != nil || !found {
			continue
		}
		var spec corev1.PodSpec
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, &spec); err != nil {
			t.Fatal(err)
		}
		all[o.GetName()] = spec
	}
	return all
}

// Pods pass Pod Security "restricted", and on OpenShift no user is given although the
// chart gives one.
func TestZitadelsPodsPassPodSecurityRestricted(t *testing.T) {
	t.Parallel()
	evaluator, err := pspolicy.NewEvaluator(pspolicy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}
	for _, openShift := range []bool{false, true} {
		r := renderedFor(t, Wanted{}, openShift, false)
		all := podsOf(t, append(r.before, r.objects...))
		if len(all) != 4 {
			t.Errorf("there are %d workloads, want two Jobs and two Deployments", len(all))
		}
		for name, spec := range all {
			if got := pspolicy.AggregateCheckResults(evaluator.EvaluatePod(level, &metav1.ObjectMeta{}, &spec)); !got.Allowed {
				t.Errorf("%s: %s", name, got.ForbiddenDetail())
			}
			given := spec.SecurityContext.RunAsUser != nil || spec.SecurityContext.FSGroup != nil || spec.Containers[0].SecurityContext.RunAsUser != nil
			if given == openShift {
				t.Errorf("%s: on OpenShift %v, a user is given: %v", name, openShift, given)
			}
			if spec.Containers[0].TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
				t.Errorf("%s: a container that fails does not say why", name)
			}
		}
	}
}

func TestTheConfigurationIsThatOfTheAddress(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]outside{
		"https://auth.example.com":      {"auth.example.com", 443, true},
		"https://auth.example.com:8443": {"auth.example.com", 8443, true},
		"http://auth.fleet.test":        {"auth.fleet.test", 80, false},
	} {
		got, err := Wanted{Issuer: issuer}.outside()
		if err != nil {
			t.Errorf("%s: %v", issuer, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outside{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", issuer, diff)
		}
	}
	for _, wrong := range []string{"", "auth.example.com", "https://auth.example.com/", "https://me@auth.example.com", "ftp://auth.example.com"} {
		if err := (Wanted{Issuer: wrong, DatabaseSecret: "d", Replicas: 1}).Check(); err == nil || !strings.Contains(err.Error(), "must be a URL without a path") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// What a person gives is stronger; no key or token that lives for years is made but that
// of the login pages.
func TestTheFirstInstanceHasNoLastingToken(t *testing.T) {
	t.Parallel()
	r := renderedFor(t, Wanted{Values: fleetchart.Values{"zitadel": fleetchart.Values{"configmapConfig": fleetchart.Values{"Log": fleetchart.Values{"Level": "debug"}}}}}, false, false)
	text := ""
	for _, o := range r.before {
		if o.GetKind() == "ConfigMap" {
			text, _, _ = unstructured.NestedString(o.Object, "data", "zitadel-config-yaml")
		}
	}
	for _, part := range []string{"ExternalDomain: auth.example.com", "Username: fleet-setup", `ExpirationDate: "2026-12-29T00:00:00Z"`, `ExpirationDate: "2036-11-26T00:00:00Z"`, "Level: debug", "AccessTokenLifetime: 1h0m0s"} {
		if !strings.Contains(text, part) {
			t.Errorf("the configuration lacks %q:\n%s", part, text)
		}
	}
	if strings.Count(text, "Pat:") != 1 {
		t.Errorf("want a token for the login pages alone:\n%s", text)
	}
	if strings.Contains(text, "Password:") {
		t.Error("a password is in a ConfigMap")
	}
}

func TestAnUpgradeRunsTheSameJobs(t *testing.T) {
	t.Parallel()
	first, second := &run{release: renderedFor(t, Wanted{}, false, false)}, &run{release: renderedFor(t, Wanted{}, false, true)}
	a, err := first.digest()
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.digest()
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Error("a second run would run the Jobs again")
	}
	for _, o := range first.release.objects {
		if o.GetAnnotations()["meta.helm.sh/release-name"] != releaseName || o.GetLabels()["app.kubernetes.io/managed-by"] != "Helm" {
			t.Errorf("Helm could not take %s %s over", o.GetKind(), o.GetName())
		}
	}
}
