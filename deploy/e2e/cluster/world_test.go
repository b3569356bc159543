//go:build e2ecluster

// Package cluster_test runs the fleet's server side as pods of a real Kubernetes node.
package cluster_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/e2e/clustertest"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Suite{M: m}.Run()) }

// eventually polls until something is so.
func eventually(t testing.TB, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clustertest.Timeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s: %v", clustertest.Timeout, what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// restrictedNamespace makes a namespace that takes only pods of the Pod Security level
// restricted. It goes with the test.
func restrictedNamespace(t *testing.T, node *clustertest.Node, name string) {
	t.Helper()
	_, err := node.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		node.Tell(t)
		clean(t, node, "delete", "namespace", name, "--ignore-not-found", "--wait=false") // nobody else has its name
	})
}

// get asks a NodePort and gives the body of the answer.
func get(ctx context.Context, node *clustertest.Node, port int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/", node.Address, port), nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return strings.TrimSpace(string(body)), err
}
