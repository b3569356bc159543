//go:build e2ecluster

package cluster_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/clustertest"
)

// newFleet makes what the chart wants to be there: images, a namespace that takes
// restricted pods only, CRDs, Secrets. Devices come in by passwords, and reach the servers
// at that address, beside the node's own.
func newFleet(t *testing.T, node *clustertest.Node, namespace string, devices []string, at netip.Addr) *fleet {
	t.Helper()
	f := &fleet{t: t, node: node, namespace: namespace}
	f.importImages()
	restrictedNamespace(t, node, f.namespace)
	t.Cleanup(f.remove)
	f.must(install.Install(t.Context(), node.Config))
	var err error
	f.kube, err = versioned.NewForConfig(node.Config)
	f.must(err)

	f.users, err = accounts.LoadUsers(filepath.Join(t.TempDir(), "passwords.json"), accounts.Names{
		Operator: "operator", System: "sys", People: []string{"admin"}, Level: callout.Admin, Devices: devices,
	})
	f.must(err)
	f.admin, f.servers = f.users.People[0].Login, f.at(natsPort)
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
	_, err = node.Client.CoreV1().ConfigMaps(f.namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: names.ConfigMapCA}, Data: map[string]string{names.KeyCA: string(certificate.CA)},
	}, metav1.CreateOptions{})
	f.must(err)
	return f
}

// small are values by which a fleet fits on the node, and devices come in by its ports.
func small(node *clustertest.Node) chart.Values {
	resources := chart.Values{"requests": chart.Values{"cpu": "20m", "memory": "32Mi"}, "limits": chart.Values{"memory": "512Mi"}}
	return chart.Values{
		"images":   chart.Values{"operator": operatorImage, "nats": natsImage},
		"nats":     chart.Values{"storage": chart.Values{"size": "1Gi"}, "goMemLimit": "400MiB", "resources": resources},
		"operator": chart.Values{"pulseInterval": "1s", "resources": resources},
		"callout":  chart.Values{"enabled": false},
		"devices":  chart.Values{"expose": "nodePort", "host": node.Address.String()},
	}
}

func (f *fleet) secret(name string, data map[string]string) {
	f.t.Helper()
	_, err := f.node.Client.CoreV1().Secrets(f.namespace).Create(f.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data,
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

// remove takes the fleet out of the cluster. The namespace goes with the test.
func (f *fleet) remove() {
	deleteAll(f.t, f.node)
	// The servers of NATS would send their clients away first, for half a minute.
	clean(f.t, f.node, "delete", "statefulsets,deployments.apps", "--all", "-n", f.namespace, "--cascade=orphan")
	clean(f.t, f.node, "delete", "pods", "--all", "-n", f.namespace, "--grace-period=1")
	// As long as an operator ran, it made the object of a device again, which the next fleet
	// would take for one of its own.
	deleteByForce(f.t, f.node, kindDevices)
	clean(f.t, f.node, "delete", "services", "--all", "-n", f.namespace)
	deleteRights(f.t, f.node)
}
