//go:build e2ecluster

package clustertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// play makes this test binary a test process that has a node, and is killed.
const play = "FLEET_TEST_NODE"

func TestMain(m *testing.M) {
	if binaries := os.Getenv(play); binaries != "" {
		if err := haveNode(binaries); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(Suite{M: m}.Run())
}

// haveNode starts a node with a pod, says which slot it has, and waits to be killed.
func haveNode(binaries string) error {
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	n, err := start(ctx, binaries)
	if err != nil {
		return err
	}
	pods := n.Client.CoreV1().Pods(metav1.NamespaceDefault)
	_, err = pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "pause", Image: pauseImage}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := until(ctx, "the pod runs", func() error {
		pod, err := pods.Get(ctx, "pod", metav1.GetOptions{})
		if err == nil && !podReady(pod) {
			err = errors.New(string(pod.Status.Phase))
		}
		return err
	}); err != nil {
		return errors.Join(err, n.stop())
	}
	fmt.Println(n.slot.number, n.state)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, n.stop())
}

// A test process that is killed takes its node with it: processes, mounts, interfaces,
// routes, control groups and the node's files.
func TestAKilledTestProcessLeavesNothingOfItsNode(t *testing.T) {
	t.Parallel()
	binaries := require(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), play+"="+binaries)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	output, err2 := cmd.StdoutPipe()
	if err := errors.Join(err, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	s, state := &slot{}, ""
	line, err := bufio.NewReader(output).ReadString('\n')
	if _, err2 := fmt.Sscan(line, &s.number, &state); errors.Join(err, err2) != nil {
		t.Fatal(line, err, err2)
	}
	if err := s.leftovers(); err == nil || !strings.Contains(err.Error(), "kubelet") {
		t.Fatalf("what is looked for is not there while the node runs: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it says that it was killed
	if err := until(ctx, "nothing is left", func() error {
		if left, err := filepath.Glob(state); err != nil || len(left) > 0 {
			return fmt.Errorf("left on the machine: %v, %w", left, err)
		}
		return s.leftovers()
	}); err != nil {
		t.Fatal(err)
	}
}
