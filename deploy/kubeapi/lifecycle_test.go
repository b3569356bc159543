package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// endLimit is for machines that do much else at the same time.
const (
	endLimit   = shutdownLimit + 30*time.Second
	objectName = "kept"
)

func newClient(t *testing.T, dir string) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(clientConfig(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func absent(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", path, err)
		}
	}
}

func TestKilledServerComesBackWithItsDataAddressAndToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// Durable as in life: no --no-fsync here.
	first := start(t, playKubeapi, "--data-dir", dir)
	client := newClient(t, dir)
	cluster, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	written := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: objectName}, Data: map[string]string{"a": "b"}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), written, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	oldConfig := clientConfig(t, dir)
	first.kill(t)

	// What a kill leaves behind must not look ready before it is.
	second, output := launch(t, playKubeapi, "--data-dir", dir)
	eventually(t, endLimit, "the stale kubeconfig is removed", func(context.Context) bool {
		_, err := os.Lstat(filepath.Join(dir, "kubeconfig"))
		return errors.Is(err, os.ErrNotExist)
	})
	if line := readLine(t, output); line != "ready "+first.url {
		t.Errorf("after the kill: %q, want the old address %s", line, first.url)
	}
	if newConfig := clientConfig(t, dir); newConfig.BearerToken != oldConfig.BearerToken {
		t.Error("the token changed, so copies of the kubeconfig are void")
	}
	client = newClient(t, dir)
	read, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), objectName, metav1.GetOptions{})
	if err != nil || read.Data["a"] != "b" {
		t.Errorf("the object after the kill: %v, %v", read.Data, err)
	}
	again, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil || again.UID != cluster.UID {
		t.Errorf("the cluster's identity changed from %s to %s (%v)", cluster.UID, again.UID, err)
	}
	second.kill(t)
}

func TestSecondProcessIsRefusedAndHarmsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, playKubeapi, "--data-dir", dir, "--no-fsync")
	second, _ := launch(t, playKubeapi, "--data-dir", dir, "--no-fsync")
	if code := second.wait(t, lockPatience+60*time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	message := second.stderr.String()
	for _, want := range []string{filepath.Join(dir, lockFile), "in use", "stop that process", "--data-dir"} {
		if !strings.Contains(message, want) {
			t.Errorf("the refusal lacks %q: %s", want, message)
		}
	}
	if strings.Count(message, "\n") != 1 {
		t.Errorf("the refusal is not one line: %s", message)
	}
	if _, err := newClient(t, dir).Discovery().ServerVersion(); err != nil {
		t.Errorf("the first process after the second: %v", err)
	}
}

func TestTerminatedServerEndsInOrderThoughAWatchIsOpen(t *testing.T) {
	t.Parallel()
	// Neither a length nor a character of the path may matter to etcd's socket.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long path, with 100% odd characters ", 4))
	p := start(t, playKubeapi, "--data-dir", dir, "--no-fsync")
	shortDir, err := shortSocketDir(dir, []string{os.TempDir(), "/tmp"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(shortDir, socketFile)); err != nil {
		t.Errorf("etcd's socket: %v", err)
	}
	watch, err := newClient(t, dir).CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	began := time.Now()
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t, endLimit); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	t.Logf("ended in %s", time.Since(began))
	for _, line := range noise(p) {
		t.Errorf("a start and an end in order are not quiet: %s", line)
	}
	absent(t, filepath.Join(dir, "kubeconfig"), shortDir)
}

func TestServerEndsWhenItsParentIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, playParent, "--data-dir", dir, "--no-fsync", "--exit-with-stdin")
	began := time.Now()
	p.kill(t)
	// The lock is free only when the child is gone.
	lock, err := lockDataDir(t.Context(), dir, endLimit)
	if err != nil {
		t.Fatalf("the child outlives its parent: %v", err)
	}
	t.Logf("the child was gone after %s", time.Since(began))
	if err := lock.release(); err != nil {
		t.Error(err)
	}
	absent(t, filepath.Join(dir, "kubeconfig"))
}

func TestServerEndsWithoutAParentFromTheStart(t *testing.T) {
	t.Parallel()
	p, _ := launch(t, playKubeapi, "--data-dir", t.TempDir(), "--no-fsync", "--exit-with-stdin")
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t, endLimit); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
