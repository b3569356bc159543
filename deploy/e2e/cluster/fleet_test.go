//go:build e2ecluster

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/images"
)

// Ports of the node by which devices come in, as the chart has them.
const (
	natsPort      = 30422
	webSocketPort = 30443
)

// fleet is a fleet's server side as pods of the node, made from the chart.
type fleet struct {
	t    *testing.T
	node *clustertest.Node
	kube *versioned.Clientset
	// namespace is the fleet's own, so that it meets nothing that was there before.
	namespace string
	users     accounts.Users
	seeds     string // the directory of the callout's seeds
	ca        string // the file of the authority of all certificates
}

// newFleet makes what the chart wants to be there: images, a namespace that takes
// restricted pods only, CRDs, Secrets. The devices named shared come in by passwords, the
// others by tokens where there is a callout. Devices reach the servers at that address,
// beside the node's own.
func newFleet(t *testing.T, node *clustertest.Node, namespace string, hasCallout bool, shared []string, at netip.Addr) *fleet {
	t.Helper()
	f := &fleet{t: t, node: node, namespace: namespace, seeds: t.TempDir()}
	f.importImages()
	restrictedNamespace(t, node, f.namespace)
	t.Cleanup(f.remove)
	f.must(install.Install(t.Context(), node.Config))
	var err error
	f.kube, err = versioned.NewForConfig(node.Config)
	f.must(err)

	f.users, err = accounts.LoadUsers(filepath.Join(f.seeds, "passwords.json"), accounts.Names{
		Operator: "operator", System: "sys", Callout: hasCallout, People: []string{"admin"}, Level: callout.Admin, Devices: shared,
	})
	f.must(err)
	if c := f.users.Callout; c != nil {
		c.Issuer, c.XKey, err = accounts.LoadCalloutKeys(f.seeds)
		f.must(err)
		f.secret(names.SecretCallout, map[string]string{
			names.KeyAuthPassword: c.Answers.Password, names.KeyLogPassword: c.Log.Password, names.KeySysPassword: c.System.Password,
			names.KeyIssuerSeed: f.seed(accounts.IssuerSeedFile), names.KeyXKeySeed: f.seed(accounts.XKeySeedFile),
		})
	}
	conf, err := accounts.Render(f.users, accounts.RenderOptions{})
	f.must(err)
	certificate, err := node.Sign(names.CertificateNames(f.namespace), node.Address, at)
	f.must(err)
	f.ca = filepath.Join(t.TempDir(), "ca.crt")
	f.must(os.WriteFile(f.ca, certificate.CA, 0o600))

	f.secret(names.SecretAccounts, map[string]string{names.KeyAccounts: string(conf)})
	f.secret(names.SecretTLS, map[string]string{
		names.KeyCert: string(certificate.Certificate), names.KeyKey: string(certificate.Key), names.KeyCA: string(certificate.CA),
	})
	f.secret(names.SecretOperator, map[string]string{names.KeyUser: f.users.Operator.User, names.KeyPassword: f.users.Operator.Password})
	f.configMap(names.ConfigMapCA, string(certificate.CA))
	f.configMap(names.ConfigMapIssuerCA, string(certificate.CA))
	return f
}

// version is the tag of the images.
const version = "test"

// importImages puts the images into the node's store: those of the operator and the
// callout as a release has them, and one of NATS laid out as the official one.
func (f *fleet) importImages() {
	f.t.Helper()
	f.node.Import(f.t, clustertest.Program{Image: "localhost/nats:" + version, File: built.Program(f.t, "nats-server"), Path: "/nats-server", User: "65532"})
	builder, err := images.NewBuilder(images.Release{Version: version})
	f.must(err)
	var set images.Set
	var platform v1.Platform
	for _, program := range images.Programs() {
		if program.Name != names.Operator && program.Name != names.Callout {
			continue
		}
		file := built.Program(f.t, program.Name)
		platform, _, err = images.Inspect(file)
		f.must(err)
		image, _, err := builder.Build(program, []string{file})
		f.must(err)
		set = append(set, image)
	}
	archive, err := os.Create(filepath.Join(f.t.TempDir(), "images.tar"))
	f.must(err)
	f.must(errors.Join(set.WriteArchive(archive, platform, images.LocalRepository), archive.Close()))
	f.node.ImportArchive(f.t, archive.Name())
}

// small are values by which a fleet fits on the node, and devices come in by its ports.
func small(node *clustertest.Node) chart.Values {
	resources := chart.Values{"requests": chart.Values{"cpu": "20m", "memory": "32Mi"}, "limits": chart.Values{"memory": "512Mi"}}
	return chart.Values{
		"images":   chart.Values{"operator": "localhost/fleet-operator:" + version, "callout": "localhost/fleet-callout:" + version, "nats": "localhost/nats:" + version},
		"nats":     chart.Values{"spread": "ScheduleAnyway", "storage": chart.Values{"size": "1Gi"}, "goMemLimit": "400MiB", "resources": resources},
		"operator": chart.Values{"pulseInterval": "1s", "resources": resources},
		"callout":  chart.Values{"resources": resources},
		"devices":  chart.Values{"expose": "nodePort", "host": node.Address.String()},
	}
}

func (f *fleet) seed(file string) string {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.seeds, file))
	f.must(err)
	return string(b)
}

func (f *fleet) secret(name string, data map[string]string) {
	f.t.Helper()
	_, err := f.node.Client.CoreV1().Secrets(f.namespace).Create(f.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data,
	}, metav1.CreateOptions{})
	f.must(err)
}

func (f *fleet) configMap(name, ca string) {
	f.t.Helper()
	_, err := f.node.Client.CoreV1().ConfigMaps(f.namespace).Create(f.t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{names.KeyCA: ca},
	}, metav1.CreateOptions{})
	f.must(err)
}

// apply renders the chart and applies it, and waits until all of its pods are Ready.
func (f *fleet) apply(profile string, values chart.Values) {
	f.t.Helper()
	objects, err := chart.Render(chart.Options{Namespace: f.namespace, Profile: profile, Values: values})
	f.must(err)
	manifests, err := chart.YAML(objects)
	f.must(err)
	if out, err := f.node.Kubectl(f.t.Context(), manifests, "apply", "--server-side", "-f", "-"); err != nil {
		f.t.Fatal(out, err)
	}
	f.settled()
}

// settled waits until each workload has all of its replicas Ready, of its newest form.
func (f *fleet) settled() {
	f.t.Helper()
	eventually(f.t, "all pods are Ready", func(ctx context.Context) error {
		deployments, err := f.node.Client.AppsV1().Deployments(f.namespace).List(ctx, metav1.ListOptions{})
		sets, err2 := f.node.Client.AppsV1().StatefulSets(f.namespace).List(ctx, metav1.ListOptions{})
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		var errs []error
		for _, d := range deployments.Items {
			if s := d.Status; s.ObservedGeneration != d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.Replicas != *d.Spec.Replicas || s.ReadyReplicas != *d.Spec.Replicas {
				errs = append(errs, fmt.Errorf("%s wants %d: %+v", d.Name, *d.Spec.Replicas, s))
			}
		}
		for _, s := range sets.Items {
			errs = append(errs, unsettled(s))
		}
		return errors.Join(errs...)
	})
}

func unsettled(s appsv1.StatefulSet) error {
	if t := s.Status; t.ObservedGeneration != s.Generation || t.UpdatedReplicas != *s.Spec.Replicas || t.Replicas != *s.Spec.Replicas || t.ReadyReplicas != *s.Spec.Replicas {
		return fmt.Errorf("%s wants %d: %+v", s.Name, *s.Spec.Replicas, t)
	}
	return nil
}

// pods lists the pods that are not on their way out, by name.
func (f *fleet) pods() []corev1.Pod {
	f.t.Helper()
	all, err := f.node.Client.CoreV1().Pods(f.namespace).List(f.t.Context(), metav1.ListOptions{})
	f.must(err)
	return slices.DeleteFunc(all.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// remove takes the fleet out of the cluster. Deployments and Devices go first, while an
// operator can take its finalizers off.
func (f *fleet) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Timeout)
	defer cancel()
	if f.t.Failed() { // the node's report is to tell of it; only its ports are free for the tests after it
		if _, err := f.node.Kubectl(ctx, nil, "delete", "services", "--all", "-n", f.namespace); err != nil {
			f.t.Log(err)
		}
		return
	}
	for _, args := range [][]string{
		{"delete", "deployments.fleet.nationtech.io", "--all", "-n", "default"},
		{"delete", "devices.fleet.nationtech.io", "--all"},
		// The servers of NATS would send their clients away first, for half a minute.
		{"delete", "statefulsets,deployments.apps", "--all", "-n", f.namespace, "--cascade=orphan"},
		{"delete", "pods", "--all", "-n", f.namespace, "--grace-period=1"},
		{"delete", "services", "--all", "-n", f.namespace},
		{"delete", "namespace", f.namespace, "--wait=false"}, // nobody else has its name
		{"delete", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/part-of=harmony-fleet"},
	} {
		if _, err := f.node.Kubectl(ctx, nil, args...); err != nil {
			f.t.Error(err)
		}
	}
}

func (f *fleet) deploy(name, tag string) {
	f.t.Helper()
	// An API server that has just begun does not serve the fleet's kinds yet.
	eventually(f.t, name+" is applied", func(ctx context.Context) error { return sampletest.Apply(ctx, f.kube, name, tag) })
}

func (f *fleet) ready(name string, devices int) {
	f.t.Helper()
	eventually(f.t, name+" is ready", func(ctx context.Context) error { return sampletest.Ready(ctx, f.kube, name, devices) })
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}
