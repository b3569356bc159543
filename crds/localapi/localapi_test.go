package localapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fleet.nationtech.io/crds/localapi"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/eventlog/needs"
)

// parentEnv makes the test binary a parent that starts an API in the folder it
// names, prints a line, and sleeps.
const parentEnv = "LOCALAPI_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		api, err := localapi.Start(context.Background(), localapi.Options{DataDir: dir, NoFsync: true})
		fmt.Println(api != nil, err)
		select {}
	}
	os.Exit(localapitest.Suite{M: m}.Run())
}

// binary is kubeapi's path; without it the test is skipped, or fails in CI.
func binary(t *testing.T) string {
	t.Helper()
	path, err := localapi.FindBinary()
	if err != nil {
		needs.Missing(t, "the test needs a Kubernetes API: %v", err)
	}
	return path
}

// shortDir is a folder whose path fits a Unix socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kubeapi-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func TestAPIKeepsItsDataOverAStop(t *testing.T) {
	t.Parallel()
	dir, path := shortDir(t), binary(t)
	for _, round := range []string{"first", "second"} {
		api, err := localapi.Start(context.Background(), localapi.Options{Binary: path, DataDir: dir, NoFsync: true})
		if err != nil {
			t.Fatal(err)
		}
		maps := kubernetes.NewForConfigOrDie(api.Config).CoreV1().ConfigMaps("default")
		_, err = maps.Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: round}}, metav1.CreateOptions{})
		if err != nil {
			t.Error(err)
		}
		if _, err := maps.Get(context.Background(), "first", metav1.GetOptions{}); err != nil {
			t.Errorf("%s start: %v", round, err)
		}
		if err := errors.Join(api.Stop(), api.Stop()); err != nil {
			t.Error(err)
		}
		<-api.Done()
		if err := api.Err(); err != nil {
			t.Errorf("after Stop: %v", err)
		}
	}
}

// Guarantee of the package: no orphan after kill -9 of the parent.
func TestKilledParentLeavesNoChild(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+dir, localapi.BinaryEnv+"="+binary(t))
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if line != "true <nil>\n" {
		t.Fatalf("the parent says %q, %v", line, err)
	}
	children := func() int {
		out, _ := exec.Command("pgrep", "-f", "--", "--data-dir "+dir+" ").Output() // exits 1 when there are none
		return len(strings.Fields(string(out)))
	}
	if n := children(); n != 1 {
		t.Fatalf("%d children, want 1", n)
	}
	if err := parent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed, and says so
	eventually(t, "the child is gone", func() bool { return children() == 0 })
}

func TestDoneTellsOfAnEndNobodyAskedFor(t *testing.T) {
	t.Parallel()
	api, err := localapi.Start(context.Background(), localapi.Options{Binary: fake(t, `
		echo "ready https://127.0.0.1:1"; sleep 0.5; echo "disk on fire" >&2; exit 3`), DataDir: kubeconfigDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	<-api.Done()
	if err := api.Err(); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("got %v, want the exit status and what it said last", err)
	}
	if err := api.Stop(); err != nil {
		t.Errorf("Stop after the end: %v", err)
	}
}

func TestStartFailsWithASentence(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		script, says string
	}{
		"it ends before it is ready": {`echo "port in use" >&2; exit 1`, "port in use"},
		"it never gets ready":        {`echo "still at it" >&2; exec cat >/dev/null`, "not ready yet: context deadline exceeded; it said last:\nstill at it"},
		"it leaves no kubeconfig":    {`echo "ready https://127.0.0.1:1"; exec cat >/dev/null`, "read its kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a busy machine starts a program late
			defer cancel()
			_, err := localapi.Start(ctx, localapi.Options{Binary: fake(t, tt.script), DataDir: t.TempDir()})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// fake is a program that does what the script says in kubeapi's place.
func fake(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeapi")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// kubeconfigDir is a data directory that holds a kubeconfig already.
func kubeconfigDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	const kubeconfig = `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]}`
	if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
