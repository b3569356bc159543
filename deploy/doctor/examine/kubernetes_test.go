package examine_test

import (
	"os"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/deploy/doctor/examine"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// clusterOf gives a cluster's clients, and a namespace in it.
func clusterOf(t *testing.T, c *localapitest.Cluster) (kubernetes.Interface, string) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	return client, c.Namespace(t)
}

// findings is what the doctor says of a cluster, where the log has one replica.
func findings(t *testing.T, config *rest.Config, namespace string) []doctor.Finding {
	t.Helper()
	k := examine.Kubernetes(t.Context(), config, "test", namespace, time.Now, 0)
	all := doctor.Examine(doctor.Facts{At: time.Now(), Kubernetes: k, Log: &doctor.Log{Replicas: 1}, LeftOut: map[string]string{}})
	var out []doctor.Finding
	for _, f := range all {
		if f.Check == doctor.CheckKubernetes {
			out = append(out, f)
		}
	}
	return out
}

// expect wants one finding of a status for each text, and no other.
func expect(t *testing.T, got []doctor.Finding, status doctor.Status, texts ...string) {
	t.Helper()
	for _, text := range texts {
		n := 0
		for _, f := range got {
			if f.Status == status && strings.Contains(f.Message, text) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d findings are %s and say %q", n, status, text)
		}
	}
	if len(got) != len(texts) || t.Failed() {
		t.Errorf("the findings are %+v", got)
	}
}

func TestAClusterWithTheCRDsAloneIsWell(t *testing.T) {
	t.Parallel()
	c := localapitest.Shared(t)
	_, namespace := clusterOf(t, c)
	expect(t, findings(t, c.Config, namespace), doctor.OK, "the cluster test has the CRDs, and the servers run elsewhere")
}

func TestWhatIsWrongInAClusterIsFound(t *testing.T) {
	t.Parallel()
	c := localapitest.Shared(t)
	client, namespace := clusterOf(t, c)
	ctx := t.Context()
	renewed := metav1.NewMicroTime(time.Now().Add(-time.Hour))
	if _, err := client.CoordinationV1().Leases(namespace).Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: names.Operator}, Spec: coordinationv1.LeaseSpec{RenewTime: &renewed},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config, err := client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: names.NATS}, Data: map[string]string{"nats.conf": "jetstream {\n  # sync_interval: always\n}\n"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made := time.Now().AddDate(0, -3, 0)
	a, err := authority.New("test", made)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Server(authority.Server{Name: "nats", Until: time.Now().Add(time.Hour)}, made)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: names.SecretTLS}, Data: map[string][]byte{names.KeyCert: pair.Certificate},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, findings(t, c.Config, namespace), doctor.Failed,
		"the operator's Lease was renewed 1h", "does not write each message through", "the certificate in Secret "+names.SecretTLS+" ends in")

	config.Data["nats.conf"] = "jetstream {\n  sync_interval: always # each append\n}\n"
	if _, err := client.CoreV1().ConfigMaps(namespace).Update(ctx, config, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if k := examine.Kubernetes(ctx, c.Config, "test", namespace, time.Now, 0); k.Synced == nil || !*k.Synced {
		t.Error("the servers write through, and that is not seen")
	}
}

func TestWhatAUserMayNotReadIsLeftOutAndIsNoFailure(t *testing.T) {
	t.Parallel()
	c := localapitest.Shared(t)
	_, namespace := clusterOf(t, c)
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "nobody", Groups: []string{"system:authenticated"}}
	for _, f := range findings(t, config, namespace) {
		if f.Status != doctor.LeftOut || !strings.Contains(f.Message, "forbidden") {
			t.Errorf("%+v", f)
		}
	}
	if k := examine.Kubernetes(t.Context(), config, "test", namespace, time.Now, 0); len(k.Unread) < 4 {
		t.Errorf("these alone are not read: %v", k.Unread)
	}
}

func TestACRDThatIsMissingIsFound(t *testing.T) {
	t.Parallel()
	c := localapitest.Private(t)
	_, namespace := clusterOf(t, c)
	crds, err := apiext.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	name := "disruptionbudgets." + v1alpha1.GroupName
	if err := crds.ApiextensionsV1().CustomResourceDefinitions().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := crds.ApiextensionsV1().CustomResourceDefinitions().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || time.Now().After(end) {
			break // it is gone, which takes a moment
		}
	}
	expect(t, findings(t, c.Config, namespace), doctor.Failed, "these CRDs are not there, or not established: "+name)
}
