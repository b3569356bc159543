package clustertest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Programs are the node's, as Kill takes them.
func Programs() []string {
	return []string{"etcd", "containerd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns", "provisioner"}
}

// Kill kills one of the node's programs, which is started again a second later.
func (n *Node) Kill(t testing.TB, program string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	if _, err := n.enter(ctx, "sh", "-c", `kill -9 "$(cat /run/node/`+program+`.pid)"`); err != nil {
		t.Fatal(err)
	}
}

// AwaitReady waits until a kubelet that was started after that moment says that the node
// is Ready, and the DNS answers.
func (n *Node) AwaitReady(t testing.TB, after time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	if err := n.awaitReady(ctx, after); err != nil {
		t.Fatal(err)
	}
}

// Kubectl runs kubectl as the cluster's administrator, and returns what it prints.
func (n *Node) Kubectl(ctx context.Context, input []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(n.binaries, "kubenode"), append([]string{"kubectl", "--kubeconfig", n.Kubeconfig}, args...)...)
	cmd.WaitDelay = time.Second
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s%s", strings.Join(args, " "), err, out.String(), said.String())
	}
	return out.String(), nil
}
