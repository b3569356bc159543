// Package health says whether a workload in a cluster is as it should be, and if not,
// why: what its pods wait for, or what keeps them from being made.
package health

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Workload is what makes pods: a Deployment, a StatefulSet or a Job.
type Workload struct {
	Kind, Namespace, Name string
}

func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

// World is what is known of a workload.
type World struct {
	Deployment  *appsv1.Deployment
	StatefulSet *appsv1.StatefulSet
	Job         *batchv1.Job
	ReplicaSets []appsv1.ReplicaSet            // of the namespace
	Pods        []corev1.Pod                   // of the namespace
	Claims      []corev1.PersistentVolumeClaim // of the namespace
	Events      []corev1.Event                 // of the namespace
}

// State is how a workload stands.
type State struct {
	Ready   bool     // of a Job: it ended well
	Failed  bool     // it will not be ready: a Job that is not tried again
	Summary string   // such as "2 of 3 pods are ready"
	Reasons []Reason // why it is not ready, the gravest first
}

// Reason is why a workload is not ready, and what to do about it.
type Reason struct {
	Sentence string `json:"sentence"`
	Remedy   string `json:"remedy,omitempty"`
}

// Judge says how a workload stands, by what is known of it.
func Judge(world World) State {
	var s State
	switch {
	case world.Deployment != nil:
		s = ofDeployment(world.Deployment)
	case world.StatefulSet != nil:
		s = ofStatefulSet(world.StatefulSet)
	case world.Job != nil:
		s = ofJob(world.Job)
	default:
		return State{Summary: "it is not there"}
	}
	if !s.Ready {
		s.Reasons = reasons(world)
	}
	return s
}

func ofDeployment(d *appsv1.Deployment) State {
	want := replicas(d.Spec.Replicas)
	st := d.Status
	s := State{Summary: ready(st.ReadyReplicas, want)}
	if st.ObservedGeneration < d.Generation {
		s.Summary = "the cluster has not looked at it yet"
		return s
	}
	s.Ready = st.UpdatedReplicas == want && st.Replicas == want && st.AvailableReplicas == want
	return s
}

func ofStatefulSet(d *appsv1.StatefulSet) State {
	want := replicas(d.Spec.Replicas)
	st := d.Status
	s := State{Summary: ready(st.ReadyReplicas, want)}
	if st.ObservedGeneration < d.Generation {
		s.Summary = "the cluster has not looked at it yet"
		return s
	}
	// CurrentRevision moves on once the last pod is of the new revision.
	s.Ready = st.ReadyReplicas == want && st.Replicas == want && (d.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType || st.UpdatedReplicas == want)
	return s
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func ready(have, want int32) string {
	if want == 1 {
		return fmt.Sprintf("%d of 1 pod is ready", have)
	}
	return fmt.Sprintf("%d of %d pods are ready", have, want)
}

// reasons collects what keeps the workload's pods from being made, and then what each
// pod waits for. The same reason of several pods is told once.
func reasons(world World) []Reason {
	owners := world.owners()
	var all []Reason
	if message := newestOf(world.Events, owners, "FailedCreate"); message != "" {
		all = append(all, creation(message)) // each try is an event: the newest tells how it stands
	}
	pods := world.podsOf(owners)
	if len(pods) > 0 && len(all) > 0 && allMade(world, len(pods)) {
		all = nil // it failed before, and the pods are there now
	}
	for i := range pods {
		all = append(all, ofPod(&pods[i], world)...)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(r Reason) bool {
		was := seen[r.Sentence]
		seen[r.Sentence] = true
		return was
	})
}

func allMade(world World, pods int) bool {
	switch {
	case world.Deployment != nil:
		return pods >= int(replicas(world.Deployment.Spec.Replicas))
	case world.StatefulSet != nil:
		return pods >= int(replicas(world.StatefulSet.Spec.Replicas))
	}
	return true
}

// owners are the uids of all that makes pods for the workload's newest revision. What
// the pods of older ones wait for does not matter any more.
func (w World) owners() map[types.UID]bool {
	switch {
	case w.StatefulSet != nil:
		return map[types.UID]bool{w.StatefulSet.UID: true}
	case w.Job != nil:
		return map[types.UID]bool{w.Job.UID: true}
	case w.Deployment == nil:
		return nil
	}
	owners := map[types.UID]bool{w.Deployment.UID: true}
	newest := -1
	for i := range w.ReplicaSets {
		owner := metav1.GetControllerOf(&w.ReplicaSets[i])
		if owner != nil && owner.UID == w.Deployment.UID && (newest < 0 || revision(&w.ReplicaSets[i]) > revision(&w.ReplicaSets[newest])) {
			newest = i
		}
	}
	if newest >= 0 {
		owners[w.ReplicaSets[newest].UID] = true
	}
	return owners
}

// revision is a ReplicaSet's place among those of its Deployment; 0 where it has none yet.
func revision(rs *appsv1.ReplicaSet) int {
	n, err := strconv.Atoi(rs.Annotations["deployment.kubernetes.io/revision"])
	if err != nil {
		return 0
	}
	return n
}

func (w World) podsOf(owners map[types.UID]bool) []corev1.Pod {
	var all []corev1.Pod
	for i := range w.Pods {
		if owner := metav1.GetControllerOf(&w.Pods[i]); owner != nil && owners[owner.UID] && !w.outdated(&w.Pods[i]) {
			all = append(all, w.Pods[i])
		}
	}
	slices.SortFunc(all, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// outdated says whether a pod is of an older revision of its StatefulSet.
func (w World) outdated(p *corev1.Pod) bool {
	of := p.Labels[appsv1.StatefulSetRevisionLabel]
	return w.StatefulSet != nil && of != "" && w.StatefulSet.Status.UpdateRevision != "" && of != w.StatefulSet.Status.UpdateRevision
}

// creation says why pods cannot be made.
func creation(message string) Reason {
	r := Reason{Sentence: "Its pods cannot be made: " + strings.TrimSpace(message)}
	switch {
	case strings.Contains(message, "violates PodSecurity"):
		r.Remedy = "Change the values that the message names; the fleet's own settings fit Pod Security \"restricted\"."
	case strings.Contains(message, "security context constraint"), strings.Contains(message, "must be in the ranges"), strings.Contains(message, "is not an allowed group"):
		r.Remedy = "On OpenShift no user is set: --set openshift=true."
	case strings.Contains(message, "exceeded quota"):
		r.Remedy = "Raise the namespace's ResourceQuota, or ask for less by --set resources of that part."
	case strings.Contains(message, "serviceaccount") && strings.Contains(message, "not found"):
		r.Remedy = "Make the ServiceAccount that the message names; those of the fleet come back by fleetctl install."
	}
	return r
}
