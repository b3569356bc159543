package health_test

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/install/health"
)

func job(conditions ...batchv1.JobCondition) health.World {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "zitadel-init", UID: "job"}}
	j.Status.Conditions = conditions
	return health.World{Job: j}
}

func TestAJobIsReadyOnceItEndedWell(t *testing.T) {
	t.Parallel()
	if s := health.Judge(job()); s.Ready || s.Failed || s.Summary != "it runs" {
		t.Errorf("a Job that runs: %+v", s)
	}
	retried := job(batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionFalse})
	retried.Job.Status.Failed = 2
	if s := health.Judge(retried); s.Ready || s.Failed || !strings.Contains(s.Summary, "2 of its pods failed") {
		t.Errorf("a Job that is tried again: %+v", s)
	}
	if s := health.Judge(job(batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue})); !s.Ready {
		t.Errorf("a Job that ended well: %+v", s)
	}
}

func TestAJobThatFailedSaysHowItsPodEnded(t *testing.T) {
	t.Parallel()
	world := job(batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Message: "Job has reached the specified backoff limit"})
	p := pod("zitadel-init-x", "job")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: 1, Message: "connecting\npassword authentication failed for user \"zitadel\"\n",
	}}}}
	world.Pods = []corev1.Pod{p}
	s := health.Judge(world)
	if !s.Failed || !strings.Contains(s.Summary, "backoff limit") {
		t.Errorf("state: %+v", s)
	}
	if len(s.Reasons) != 1 || s.Reasons[0].Sentence != `Pod zitadel-init-x ended with exit code 1: password authentication failed for user "zitadel"` {
		t.Errorf("reasons: %+v", s.Reasons)
	}
}
