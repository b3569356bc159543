package provider_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/install/provider"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// world is a cluster without nodes, in which the test plays what runs Jobs and pods, and
// the development provider plays Zitadel.
type world struct {
	t        *testing.T
	client   kubernetes.Interface
	provider *devprovider.Provider
	options  provider.Options
	kinds    *kinds
	found    []cluster.Finding

	mu sync.Mutex
	// started lists the Jobs and Deployments that were run, in order.
	started []string
	// leftOver has the database have an instance already: the setup makes none.
	leftOver bool
	// wrong is what the next Job's pod ends with; empty: it ends well.
	wrong string
}

const account = "setup-account"

func newWorld(t *testing.T) *world {
	t.Helper()
	api := localapitest.Shared(t)
	served.Do(func() { serveKinds(t, api.Config) })
	config := rest.CopyConfig(api.Config)
	k := &kinds{there: map[string]any{}}
	config.ContentType, config.AcceptContentTypes = "application/json", "application/json" // which can be rewritten
	config.Wrap(k.before)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, client: client, kinds: k, provider: devprovidertest.Start(t, devprovider.Options{})}
	w.provider.AddOrganization(devprovider.Organization{ID: "1000", Name: "ACME"})
	if _, err := w.provider.AddUser(devprovider.User{ID: account, Organization: "1000", Machine: true, TokenType: devprovider.JWT}); err != nil {
		t.Fatal(err)
	}
	w.provider.AddAdministrator(account, "", "IAM_OWNER")
	w.options = provider.Options{
		Config: config, Namespace: api.Namespace(t), Chart: "testdata/zitadel",
		Wanted: provider.Wanted{
			Issuer: w.provider.Issuer(), DatabaseSecret: "database", Replicas: 2,
			Values: chart.Values{"ingress": chart.Values{"enabled": false}}, // its address is no name
		},
		Setup: setup.Wanted{DeviceOrganization: setup.DefaultDeviceOrganization, Project: setup.DefaultProject, KeyLife: setup.DefaultKeyLife},
		Keys:  filepath.Join(t.TempDir(), "keys"), Timeout: time.Minute, Now: time.Now,
		Found: func(all []cluster.Finding) { w.found = all },
		Tell:  func(p provider.Progress) { t.Logf("%s: %s", p.Step, p.Sentence) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			w.play(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

// withDatabase gives the cluster a Postgres with a pod that is ready, or not.
func (w *world) withDatabase(ready bool) *world {
	w.t.Helper()
	namespace := w.options.Namespace
	w.kinds.put("/api/v1/namespaces/"+namespace+"/services/postgres", &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "postgres"}})
	w.kinds.put("/apis/discovery.k8s.io/v1/namespaces/"+namespace+"/endpointslices", &discoveryv1.EndpointSliceList{Items: []discoveryv1.EndpointSlice{{
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.5"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}}})
	w.secret("database", "dsn", "postgresql://zitadel:secret-word@postgres:5432/zitadel?sslmode=verify-full")
	return w
}

func (w *world) secret(name, key, value string) {
	w.t.Helper()
	_, err := w.client.CoreV1().Secrets(w.options.Namespace).Create(w.t.Context(),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{key: []byte(value)}}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

// value is a key of a Secret; nil where it is not there.
func (w *world) value(name, key string) []byte {
	w.t.Helper()
	s, err := w.client.CoreV1().Secrets(w.options.Namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Data[key]
}

func (w *world) newKey() []byte {
	text, err := w.provider.AddKey(account, time.Now().Add(time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// play does what a cluster's controllers and nodes do.
func (w *world) play(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	namespace := w.options.Namespace
	jobs, err := w.client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return // the test ends
	}
	for i := range jobs.Items {
		if j := &jobs.Items[i]; len(j.Status.Conditions) == 0 && j.DeletionTimestamp == nil {
			w.runJob(ctx, j)
		}
	}
	deployments, err := w.client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		if d.Status.ObservedGeneration == d.Generation {
			continue
		}
		n := *d.Spec.Replicas
		d.Status.ObservedGeneration, d.Status.Replicas, d.Status.ReadyReplicas, d.Status.UpdatedReplicas, d.Status.AvailableReplicas = d.Generation, n, n, n, n
		if _, err := w.client.AppsV1().Deployments(namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{}); err != nil {
			continue // next time
		}
		w.started = append(w.started, d.Name)
	}
}

func (w *world) runJob(ctx context.Context, j *batchv1.Job) {
	now := metav1.Now()
	j.Status.StartTime = &now
	condition := func(kind batchv1.JobConditionType) batchv1.JobCondition {
		return batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now}
	}
	switch {
	case w.wrong != "":
		w.podEnded(j)
		j.Status.Failed = 1
		j.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobFailureTarget), condition(batchv1.JobFailed)}
	default:
		if j.Name == "zitadel-setup" && !w.leftOver && !w.writeKey(ctx) {
			return
		}
		j.Status.Succeeded, j.Status.CompletionTime = 1, &now
		j.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobSuccessCriteriaMet), condition(batchv1.JobComplete)}
	}
	if _, err := w.client.BatchV1().Jobs(j.Namespace).UpdateStatus(ctx, j, metav1.UpdateOptions{}); err != nil {
		if ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			w.t.Errorf("job %s: %v", j.Name, err)
		}
		return
	}
	w.started = append(w.started, j.Name)
	w.wrong = ""
}

// podEnded has a pod of a Job end wrongly.
func (w *world) podEnded(j *batchv1.Job) {
	yes := true
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: j.Name + "-x", Namespace: j.Namespace, UID: j.UID + "-pod",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: j.Name, UID: j.UID, Controller: &yes}},
	}, Spec: j.Spec.Template.Spec}
	p.Status.Phase = corev1.PodFailed
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: j.Name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: w.wrong}}}}
	w.kinds.put("/api/v1/namespaces/"+j.Namespace+"/pods", &corev1.PodList{Items: []corev1.Pod{p}})
}

// writeKey writes the first account's key as Zitadel's setup does, where it made an
// instance.
func (w *world) writeKey(ctx context.Context) bool {
	w.leftOver = true // the database has an instance from now on
	_, err := w.client.CoreV1().Secrets(w.options.Namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: provider.SetupAccount}, Data: map[string][]byte{provider.SetupAccount + ".json": w.newKey()},
	}, metav1.CreateOptions{})
	if err != nil && ctx.Err() == nil {
		w.t.Errorf("key of the first account: %v", err)
	}
	return err == nil
}

func (w *world) ran() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.started...)
}

func (w *world) set(f func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

// newerChart is the same chart in another version.
func newerChart(t *testing.T, version string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "zitadel")
	if err := os.CopyFS(dir, os.DirFS("testdata/zitadel")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "Chart.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("version: 9.34.0"), []byte("version: "+version), 1)
	text = bytes.Replace(text, []byte("v4.13.0"), []byte("v4.99.0"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
