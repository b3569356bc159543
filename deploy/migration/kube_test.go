package migration_test

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fleet.nationtech.io/crds/localapi/localapitest"
)

func splitYAML(text []byte) [][]byte { return bytes.Split(text, []byte("---\n")) }

func makeNamespace(t *testing.T, api *localapitest.Cluster, name string) error {
	t.Helper()
	core, err := kubernetes.NewForConfig(api.Config)
	if err != nil {
		return err
	}
	_, err = core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	return err
}
