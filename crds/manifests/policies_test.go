package manifests_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog/needs"
)

// policed makes the policies be in force in the shared API, once.
var policed struct {
	once sync.Once
	err  error
}

// office is a namespace of a cluster whose policies are in force, and persons
// who change what is in it.
type office struct {
	*testing.T
	api       *localapitest.Cluster
	namespace string
}

// policedAPI is the shared API once its policies are in force: while they come, it
// answers anyone who writes a Deployment that its kind was not found.
func policedAPI(t *testing.T) *localapitest.Cluster {
	t.Helper()
	api := localapitest.Shared(t)
	policed.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if policed.err = install.Policies(ctx, api.Config); policed.err == nil {
			policed.err = install.AwaitPolicies(ctx, api.Config)
		}
	})
	if policed.err != nil {
		t.Fatal(policed.err)
	}
	return api
}

func newOffice(t *testing.T) office {
	t.Helper()
	api := policedAPI(t)
	return office{T: t, api: api, namespace: api.Namespace(t)}
}

// client is a client of a person, by impersonation.
func (o office) client(person string) dynamic.ResourceInterface {
	o.Helper()
	config := rest.CopyConfig(o.api.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: person, Groups: []string{"system:masters"}}
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		o.Fatal(err)
	}
	return c.Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(o.namespace)
}

// patch merges into the Deployment "web" and returns what the API answered.
func (o office) patch(person, merge string, dryRun ...string) *unstructured.Unstructured {
	o.Helper()
	d, err := o.client(person).Patch(o.Context(), "web", types.MergePatchType, []byte(merge), metav1.PatchOptions{DryRun: dryRun})
	if err != nil {
		o.Fatal(err)
	}
	return d
}

func (o office) create(person string, annotations map[string]string, dryRun ...string) *unstructured.Unstructured {
	o.Helper()
	object := asked{name: "web"}.object(o.T)
	object.SetAnnotations(annotations)
	d, err := o.client(person).Create(o.Context(), object, metav1.CreateOptions{DryRun: dryRun})
	if err != nil {
		o.Fatal(err)
	}
	return d
}

const (
	nobody = "" // the annotation is not there
	forged = `{"metadata":{"annotations":{"` + v1alpha1.AnnotationRequestedBy + `":"mallory"}}}`
	spec2  = `{"spec":{"targetSelector":{"matchLabels":{"site":"two"}}}}`
)

func wantRequester(t testing.TB, after string, d *unstructured.Unstructured, want string) {
	t.Helper()
	got, there := d.GetAnnotations()[v1alpha1.AnnotationRequestedBy]
	if got != want || there != (want != nobody) {
		t.Errorf("%s: requested by %q, want %q", after, got, want)
	}
}

func TestWhoChangedTheSpecIsStampedAndKept(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	wantRequester(t, "a dry run of a creation", o.create("alice", nil, metav1.DryRunAll), nobody)
	wantRequester(t, "a dry run that claims", o.create("alice", map[string]string{v1alpha1.AnnotationRequestedBy: "mallory"}, metav1.DryRunAll), nobody)
	wantRequester(t, "alice creates", o.create("alice", nil), "alice")
	for _, step := range []struct {
		did, by, merge string
		dryRun         bool
		want           string
	}{
		{did: "bob changes labels", by: "bob", merge: `{"metadata":{"labels":{"a":"b"}}}`, want: "alice"},
		{did: "bob changes another annotation", by: "bob", merge: `{"metadata":{"annotations":{"kubernetes.io/change-cause":"why not"}}}`, want: "alice"},
		{did: "bob forges", by: "bob", merge: forged, want: "alice"},
		{did: "bob removes it", by: "bob", merge: `{"metadata":{"annotations":{"` + v1alpha1.AnnotationRequestedBy + `":null}}}`, want: "alice"},
		{did: "bob removes all annotations", by: "bob", merge: `{"metadata":{"annotations":null}}`, want: "alice"},
		{did: "the operator's finalizer", by: "system:serviceaccount:fleet-system:fleet-operator", merge: `{"metadata":{"finalizers":["` + v1alpha1.FinalizerWithdraw + `"]}}`, want: "alice"},
		{did: "bob sets the spec that is there", by: "bob", merge: `{"spec":{"rollout":null}}`, want: "alice"},
		{did: "bob changes the spec in a dry run", by: "bob", merge: spec2, dryRun: true, want: "alice"},
		{did: "bob forges in a dry run", by: "bob", merge: forged, dryRun: true, want: "alice"},
		{did: "bob forges and changes the spec", by: "bob", merge: `{"spec":{"targetSelector":{"matchLabels":{"site":"one"}}},` + forged[1:], want: "bob"},
		{did: "carol changes the spec and removes all annotations", by: "carol", merge: `{"metadata":{"annotations":null},` + spec2[1:], want: "carol"},
		{did: "a part of the spec that nobody knows", by: "dave", merge: `{"spec":{"score":{"data":{"mesh":{"on":true}}}}}`, want: "dave"},
		{did: "a name of many characters", by: "oidc:jürgen \"o'hara\" <j@x.org>/~1%/日本", merge: `{"spec":{"targetSelector":{"matchLabels":{"site":"three"}}}}`, want: "oidc:jürgen \"o'hara\" <j@x.org>/~1%/日本"},
	} {
		var dryRun []string
		if step.dryRun {
			dryRun = []string{metav1.DryRunAll}
		}
		wantRequester(t, step.did, o.patch(step.by, step.merge, dryRun...), step.want)
	}
	o.patch("alice", `{"metadata":{"finalizers":null}}`)
}

// The status is a writer's of its own, and cannot be a way around.
func TestAStatusCarriesNoRequester(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.create("alice", nil)
	d, err := o.client("operator").Patch(t.Context(), "web", types.MergePatchType,
		[]byte(`{"status":{"observedGeneration":1},`+forged[1:]), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	wantRequester(t, "a status that forges", d, "alice")
}

// What came before the policy names nobody, and lets nobody be named.
func TestADeploymentFromBeforeThePolicyCannotBeClaimed(t *testing.T) {
	t.Parallel()
	api := localapitest.Private(t)
	o := office{T: t, api: api, namespace: api.Namespace(t)}
	wantRequester(t, "without a policy", o.create("alice", nil), nobody)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 2 { // again changes nothing
		if err := install.Policies(ctx, api.Config); err != nil {
			t.Fatal(err)
		}
	}
	if err := install.AwaitPolicies(ctx, api.Config); err != nil {
		t.Fatal(err)
	}
	wantRequester(t, "bob claims it", o.patch("bob", forged), nobody)
	wantRequester(t, "bob changes it", o.patch("bob", spec2), "bob")
}

// A spec as large as the schema lets it be is compared within the policy's budget.
func TestTheLargestSpecIsCompared(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	services := manyServices(20, ", env: {A: "+strings.Repeat("x", 9000)+"}, args: ["+strings.TrimSuffix(strings.Repeat("a, ", 100), ", ")+"]")
	object := asked{name: "web", score: scoreOf(services...)}.object(t)
	d, err := o.client("alice").Create(t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantRequester(t, "created", d, "alice")
	wantRequester(t, "labelled", o.patch("bob", `{"metadata":{"labels":{"a":"b"}}}`), "alice")
	wantRequester(t, "changed", o.patch("bob", spec2), "bob")
}

// kubectl runs the real one as a person, and returns its output and exit code.
func (o office) kubectl(person string, args ...string) (string, int) {
	o.Helper()
	c := exec.CommandContext(o.Context(), "kubectl", append([]string{
		"--kubeconfig", o.api.API.Kubeconfig, "--cache-dir", filepath.Join(o.TempDir(), "cache"),
		"--as", person, "--as-group", "system:masters", "-n", o.namespace,
	}, args...)...)
	c.Env = append(os.Environ(), "KUBECTL_EXTERNAL_DIFF=")
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		o.Fatal(err)
	}
	return string(out), c.ProcessState.ExitCode()
}

// After either style of apply, either style of diff is empty, whatever the client; a
// diff before a change shows the change and no more; and the annotation has no
// owner, so that nobody's apply removes it or comes into a conflict about it.
func TestKubectlDiffIsEmptyAfterAnApply(t *testing.T) {
	t.Parallel()
	needs.Program(t, "kubectl", "apt-get install kubernetes-client")
	newOffice(t)
	for name, style := range map[string][]string{"client-side": nil, "server-side": {"--server-side"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			file := filepath.Join(t.TempDir(), "web.yaml")
			write := func(site, requester string) {
				// An annotation of its own, because kubectl otherwise shows that its
				// two styles write an empty set of them differently.
				text := "apiVersion: fleet.nationtech.io/v1alpha1\nkind: Deployment\n" +
					"metadata: {name: web, annotations: {kubernetes.io/change-cause: to test" + requester + "}}\n" +
					"spec: {targetSelector: {matchLabels: {site: " + site + "}}, score: " + scoreOf("{name: a, image: b}") + "}\n"
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			both := [][]string{nil, {"--server-side"}}
			apply := func(person, want string, differs ...[]string) {
				t.Helper()
				if out, code := o.kubectl(person, append([]string{"apply", "-f", file}, style...)...); code != 0 {
					t.Fatalf("kubectl apply: exit code %d: %s", code, out)
				}
				d, err := o.client(person).Get(t.Context(), "web", metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				wantRequester(t, person+" applies", d, want)
				for _, differ := range differs {
					out, code := o.kubectl("carol", append([]string{"diff", "-f", file}, differ...)...)
					if code != 0 {
						t.Errorf("after %s applied: kubectl diff %v: exit code %d:\n%s", person, differ, code, out)
					}
				}
			}
			write("one", "")
			apply("alice", "alice", both...)
			apply("bob", "alice", both...)
			write("two", "")
			out, code := o.kubectl("bob", append([]string{"diff", "-f", file}, style...)...)
			if code != 1 || strings.Count(out, "\n+ ") != 2 || strings.Contains(out, "\n+    "+v1alpha1.AnnotationRequestedBy) {
				t.Errorf("a diff before a change: exit code %d, want the site and the generation alone:\n%s", code, out)
			}
			apply("bob", "bob", both...)
			// A file that claims is not believed, and not shown as a difference by the
			// style that it is applied in. The other style would be in a conflict about
			// the claim, as about any field that two managers set.
			write("two", ", "+v1alpha1.AnnotationRequestedBy+": mallory")
			apply("carol", "bob", style)
			write("three", ", "+v1alpha1.AnnotationRequestedBy+": mallory")
			apply("carol", "carol", style)
			write("three", "")
			apply("alice", "carol", both...)
		})
	}
}
