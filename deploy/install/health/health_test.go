package health_test

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/deploy/install/health"
)

func owned(name, uid, by string) metav1.ObjectMeta {
	yes := true
	return metav1.ObjectMeta{
		Namespace: "fleet-system", Name: name, UID: types.UID(uid),
		OwnerReferences: []metav1.OwnerReference{{UID: types.UID(by), Controller: &yes}},
	}
}

func ptr(n int32) *int32 { return &n }

// rolling is a Deployment of two pods, of which none is there yet.
func rolling() health.World {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "fleet-operator", UID: "d", Generation: 2}}
	d.Spec.Replicas = ptr(2)
	d.Status.ObservedGeneration = 2
	return health.World{
		Deployment: d,
		ReplicaSets: []appsv1.ReplicaSet{
			revised("fleet-operator-old", "old", "d", "9"), revised("fleet-operator-new", "rs", "d", "10"), revised("other", "other", "x", "11"),
		},
	}
}

func revised(name, uid, by, revision string) appsv1.ReplicaSet {
	rs := appsv1.ReplicaSet{ObjectMeta: owned(name, uid, by)}
	rs.Annotations = map[string]string{"deployment.kubernetes.io/revision": revision}
	return rs
}

func pod(name, by string) corev1.Pod { return corev1.Pod{ObjectMeta: owned(name, "uid-"+name, by)} }

func waits(reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name: "operator", Image: "registry.test/fleet-operator:v1",
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	}
}

func event(about, reason, message string, age time.Duration) corev1.Event {
	at := time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC).Add(-age)
	return corev1.Event{InvolvedObject: corev1.ObjectReference{UID: types.UID(about)}, Reason: reason, Message: message, LastTimestamp: metav1.NewTime(at)}
}

func TestAWorkloadThatIsNotReadySaysWhy(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		world func(*health.World)
		says  []string // parts of the sentences, in order
		does  string   // part of the first remedy
	}{
		"Pod Security refuses its pods": {func(w *health.World) {
			w.Events = []corev1.Event{
				event("old", "FailedCreate", "of a former revision", 0),
				event("rs", "FailedCreate", "an older message", time.Minute),
				event("rs", "FailedCreate", `pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true`, time.Second),
			}
		}, []string{"cannot be made: pods \"x\" is forbidden: violates PodSecurity"}, "values that the message names"},
		"OpenShift refuses a fixed user": {func(w *health.World) {
			w.Events = []corev1.Event{event("rs", "FailedCreate", "unable to validate against any security context constraint: 65532 must be in the ranges: [1000680000, 1000689999]", 0)}
		}, []string{"must be in the ranges"}, "openshift=true"},
		"a quota is used up": {func(w *health.World) {
			w.Events = []corev1.Event{event("rs", "FailedCreate", "exceeded quota: small", 0)}
		}, []string{"exceeded quota"}, "ResourceQuota"},
		"no image": {func(w *health.World) {
			p, q := pod("fleet-operator-1", "rs"), pod("fleet-operator-2", "rs")
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waits("ImagePullBackOff", `Back-off pulling image "x": ErrImagePull: not found`)}
			q.Status.ContainerStatuses = []corev1.ContainerStatus{waits("ErrImagePull", "not found")}
			old := pod("fleet-operator-0", "old")
			old.Status.ContainerStatuses = []corev1.ContainerStatus{waits("ErrImagePull", "of a former revision")}
			w.Pods = []corev1.Pod{q, old, p}
		}, []string{"fleet-operator-1 cannot pull image registry.test/fleet-operator:v1: not found", "fleet-operator-2"}, "--bundle"},
		"it ends again and again": {func(w *health.World) {
			p := pod("fleet-operator-1", "rs")
			c := waits("CrashLoopBackOff", "back-off 5m0s")
			c.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, Message: "line one\nNATS at nats://nats:4222 does not answer\n"}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{c}
			w.Pods = []corev1.Pod{p}
		}, []string{"is in CrashLoopBackOff: it ends with exit code 1: NATS at nats://nats:4222 does not answer"}, "kubectl logs -n fleet-system fleet-operator-1 --previous"},
		"out of memory": {func(w *health.World) {
			p := pod("fleet-operator-1", "rs")
			c := waits("CrashLoopBackOff", "")
			c.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{c}
			w.Pods = []corev1.Pod{p}
		}, []string{"exit code 137"}, "more memory"},
		"no Secret": {func(w *health.World) {
			p := pod("fleet-operator-1", "rs")
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waits("CreateContainerConfigError", `secret "fleet-operator-nats" not found`)}
			w.Pods = []corev1.Pod{p}
		}, []string{`secret "fleet-operator-nats" not found`}, "comes back by fleetctl install"},
		"no node": {func(w *health.World) {
			p := pod("fleet-operator-1", "rs")
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes are available: 1 Insufficient memory."}}
			w.Pods = []corev1.Pod{p}
		}, []string{"cannot be scheduled: 0/1 nodes are available: 1 Insufficient memory."}, "Add a node"},
		"no volume": {func(w *health.World) {
			p := pod("fleet-operator-1", "rs")
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "pod has unbound immediate PersistentVolumeClaims"}}
			p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-0"}}}}
			w.Pods = []corev1.Pod{p}
			w.Claims = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data-0", UID: "claim"}}}
			w.Events = []corev1.Event{event("claim", "ProvisioningFailed", "no space left in pool", 0)}
		}, []string{"waits for a volume of the default storage class: no space left in pool"}, "nats.storage.class"},
		"a mount fails": {func(w *health.World) {
			w.Pods = []corev1.Pod{pod("fleet-operator-1", "rs")}
			w.Events = []corev1.Event{event("uid-fleet-operator-1", "FailedMount", `MountVolume.SetUp failed: secret "fleet-nats-tls" not found`, 0)}
		}, []string{"fleet-nats-tls"}, "comes back by fleetctl install"},
		"a probe fails": {func(w *health.World) {
			p := pod("fleet-operator-1", "rs")
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
			w.Pods = []corev1.Pod{p}
			w.Events = []corev1.Event{event("uid-fleet-operator-1", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 0)}
		}, []string{"statuscode: 503"}, "kubectl logs -n fleet-system fleet-operator-1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world := rolling()
			tt.world(&world)
			s := health.Judge(world)
			if s.Ready || s.Summary != "0 of 2 pods are ready" {
				t.Errorf("state: %+v", s)
			}
			if len(s.Reasons) != len(tt.says) {
				t.Fatalf("%d reasons, want %d: %+v", len(s.Reasons), len(tt.says), s.Reasons)
			}
			for i, part := range tt.says {
				if !strings.Contains(s.Reasons[i].Sentence, part) {
					t.Errorf("reason %d: %q, want a part of it to be %q", i, s.Reasons[i].Sentence, part)
				}
			}
			if !strings.Contains(s.Reasons[0].Remedy, tt.does) {
				t.Errorf("remedy %q, want a part of it to be %q", s.Reasons[0].Remedy, tt.does)
			}
		})
	}
}

// What failed before the pods were there is no reason any more.
func TestAFailureThatIsOverIsNotTold(t *testing.T) {
	t.Parallel()
	world := rolling()
	world.Pods = []corev1.Pod{pod("fleet-operator-1", "rs"), pod("fleet-operator-2", "rs")}
	world.Events = []corev1.Event{event("rs", "FailedCreate", "exceeded quota: small", 0)}
	if s := health.Judge(world); len(s.Reasons) > 0 {
		t.Errorf("reasons: %+v", s.Reasons)
	}
}

func TestAnUpdateIsReadyOnceAllPodsAreNew(t *testing.T) {
	t.Parallel()
	world := rolling()
	d := world.Deployment
	d.Status.Replicas, d.Status.ReadyReplicas, d.Status.AvailableReplicas, d.Status.UpdatedReplicas = 2, 2, 2, 1
	if health.Judge(world).Ready {
		t.Error("one pod is still of the old revision")
	}
	d.Status.UpdatedReplicas = 2
	if s := health.Judge(world); !s.Ready || s.Summary != "2 of 2 pods are ready" {
		t.Errorf("state: %+v", s)
	}
	d.Generation++
	if health.Judge(world).Ready {
		t.Error("the status is of an older generation")
	}
}

func TestAStatefulSetIsReadyOnceAllServersAreNew(t *testing.T) {
	t.Parallel()
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "nats", UID: "s", Generation: 1}}
	set.Spec.Replicas = ptr(3)
	set.Status = appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 3, ReadyReplicas: 3, UpdatedReplicas: 2}
	if health.Judge(health.World{StatefulSet: set}).Ready {
		t.Error("one server is still of the old revision")
	}
	set.Status.UpdatedReplicas = 3
	if !health.Judge(health.World{StatefulSet: set}).Ready {
		t.Error("all servers are ready and new")
	}
}
