package health

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// ofJob says how a Job stands: it is ready once it ended well. One that failed for good
// is not tried again.
func ofJob(j *batchv1.Job) State {
	for _, c := range j.Status.Conditions {
		switch {
		case c.Status != corev1.ConditionTrue:
		case c.Type == batchv1.JobComplete:
			return State{Ready: true, Summary: "it ended well"}
		case c.Type == batchv1.JobFailed:
			said := "it failed"
			if c.Message != "" {
				said += ": " + c.Message
			}
			return State{Failed: true, Summary: said}
		}
	}
	if n := j.Status.Failed; n > 0 {
		return State{Summary: fmt.Sprintf("it runs, after %d of its pods failed", n)}
	}
	return State{Summary: "it runs"}
}
