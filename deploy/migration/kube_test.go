package migration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator"
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

// operate runs an operator until the test ends.
func operate(t *testing.T, server *natstest.Server, api *localapitest.Cluster) {
	t.Helper()
	nc, _ := server.Connect(t, nats.UserInfo("operator", "p"))
	op, err := operator.New(operator.Options{
		Conn: nc, RestConfig: api.Config, Identity: "op", LeaseDuration: 60 * time.Second, RenewDeadline: 50 * time.Second, RetryPeriod: 200 * time.Millisecond,
		PulseInterval: time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- op.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("operator: %v", err)
		}
	})
}

// applyObjects is kubectl apply --server-side --field-manager, of one text after the other.
func applyObjects(t *testing.T, api *localapitest.Cluster, crs versioned.Interface, manager string, texts ...[]byte) {
	t.Helper()
	for _, text := range texts {
		for _, doc := range splitYAML(text) {
			b, err := yaml.YAMLToJSON(doc)
			if err != nil {
				t.Fatal(err)
			}
			var m metav1.PartialObjectMetadata
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
			yes := true
			o := metav1.PatchOptions{FieldManager: manager, Force: &yes}
			switch m.Kind {
			case "Namespace":
				err = makeNamespace(t, api, m.Name)
			case "Deployment":
				_, err = crs.FleetV1alpha1().Deployments(m.Namespace).Patch(t.Context(), m.Name, types.ApplyPatchType, b, o)
			case "Device":
				_, err = crs.FleetV1alpha1().Devices().Patch(t.Context(), m.Name, types.ApplyPatchType, b, o)
			default:
				err = fmt.Errorf("a %q", m.Kind)
			}
			if err != nil {
				t.Fatalf("apply %s: %v", doc, err)
			}
		}
	}
}
