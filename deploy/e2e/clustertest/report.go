package clustertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reportTimeout bounds what a failed test is told.
const reportTimeout = 30 * time.Second

// Tell tells now what became of the pods, of a test that has failed: before what it left is
// taken out. A test is told of once.
func (n *Node) Tell(t testing.TB) {
	t.Helper()
	if !t.Failed() || n.told == t.Name() || strings.HasPrefix(n.told, t.Name()+"/") {
		return
	}
	n.told = t.Name()
	t.Log(n.report())
}

// report tells what became of the cluster's pods, for a test that failed.
func (n *Node) report() string {
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	var b strings.Builder
	pods, err := n.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Fprintf(&b, "the node %s does not tell of its pods: %v\n%s", n.Name, err, n.logs())
		return b.String()
	}
	say := func(args ...string) {
		out, err := n.Kubectl(ctx, nil, args...)
		if err != nil {
			out += err.Error()
		}
		fmt.Fprintf(&b, "$ kubectl %s\n%s\n", strings.Join(args, " "), last(out, 60))
	}
	say("get", "pods,services,pvc", "--all-namespaces", "-o", "wide")
	say("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp")
	for _, pod := range pods.Items {
		if !podReady(&pod) {
			say("describe", "pod", "-n", pod.Namespace, pod.Name)
		}
		say("logs", "-n", pod.Namespace, pod.Name, "--all-containers", "--tail=20")
		for _, c := range pod.Status.ContainerStatuses {
			if c.RestartCount > 0 {
				say("logs", "-n", pod.Namespace, pod.Name, "-c", c.Name, "--previous", "--tail=20")
			}
		}
	}
	fmt.Fprintf(&b, "programs of the node that ended:\n%s", n.log("restarts", 20))
	return b.String()
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// logs gives the ends of the logs of the node's programs.
func (n *Node) logs() string {
	var b strings.Builder
	for _, name := range append([]string{"launch", "node", "restarts"}, Programs()...) {
		if text := n.log(name, 8); text != "" {
			fmt.Fprintf(&b, "%s:\n%s\n", name, text)
		}
	}
	return b.String()
}

func (n *Node) log(name string, lines int) string {
	content, err := os.ReadFile(filepath.Join(n.state, "log", name+".log"))
	if err != nil {
		return ""
	}
	return last(string(content), lines)
}

// last gives a text's last lines.
func last(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
