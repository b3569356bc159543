package health

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ofPod says what a pod waits for; nothing when it is ready.
func ofPod(p *corev1.Pod, world World) []Reason {
	if p.DeletionTimestamp != nil {
		return []Reason{{Sentence: fmt.Sprintf("Pod %s is ending.", p.Name)}}
	}
	if r, waits := unscheduled(p, world); waits {
		return []Reason{r}
	}
	statuses := make([]corev1.ContainerStatus, 0, len(p.Status.InitContainerStatuses)+len(p.Status.ContainerStatuses))
	statuses = append(append(statuses, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...)
	var all []Reason
	for _, c := range statuses {
		if r, waits := ofContainer(p, c); waits {
			all = append(all, r)
		}
	}
	if len(all) > 0 || isReady(p) {
		return all
	}
	if message := newestEvent(world.Events, p, "FailedMount", "FailedAttachVolume"); message != "" {
		r := Reason{Sentence: fmt.Sprintf("Pod %s cannot mount a volume: %s", p.Name, message)}
		if strings.Contains(message, "secret") || strings.Contains(message, "configmap") {
			r.Remedy = "Make what the message names, or correct the value that names it. What fleetctl makes itself comes back by fleetctl install."
		}
		return []Reason{r}
	}
	if message := newestEvent(world.Events, p, "Unhealthy"); message != "" {
		return []Reason{{
			Sentence: fmt.Sprintf("Pod %s is not ready yet: %s", p.Name, message),
			Remedy:   fmt.Sprintf("Read its log: kubectl logs -n %s %s.", p.Namespace, p.Name),
		}}
	}
	return nil
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func unscheduled(p *corev1.Pod, world World) (Reason, bool) {
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse {
			continue
		}
		for _, claim := range pendingClaims(p, world) {
			return claim, true
		}
		r := Reason{Sentence: fmt.Sprintf("Pod %s cannot be scheduled: %s", p.Name, c.Message)}
		switch {
		case strings.Contains(c.Message, "Insufficient"):
			r.Remedy = "Add a node, or ask for less by --set resources of that part."
		case strings.Contains(c.Message, "topology spread"):
			r.Remedy = "Add nodes until each NATS server has its own, or use --profile lab."
		case strings.Contains(c.Message, "taint"):
			r.Remedy = "Take the taint off a node, or give the part a toleration by --set tolerations."
		}
		return r, true
	}
	return Reason{}, false
}

// pendingClaims says why the claims of a pod have no volume.
func pendingClaims(p *corev1.Pod, world World) []Reason {
	var all []Reason
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		for i := range world.Claims {
			c := &world.Claims[i]
			if c.Name != v.PersistentVolumeClaim.ClaimName || c.Status.Phase == corev1.ClaimBound {
				continue
			}
			class := "of the default storage class"
			if c.Spec.StorageClassName != nil {
				class = "of storage class " + *c.Spec.StorageClassName
			}
			sentence := fmt.Sprintf("Pod %s waits for a volume %s.", p.Name, class)
			if message := newestEvent(world.Events, c, "ProvisioningFailed", "FailedBinding"); message != "" {
				sentence = fmt.Sprintf("Pod %s waits for a volume %s: %s", p.Name, class, message)
			}
			all = append(all, Reason{sentence, "Check the storage class's provisioner, or name another class: --set nats.storage.class=NAME."})
		}
	}
	return all
}

func ofContainer(p *corev1.Pod, c corev1.ContainerStatus) (Reason, bool) {
	waiting := c.State.Waiting
	switch ended := c.State.Terminated; {
	case ended != nil && ended.ExitCode != 0 && p.Spec.RestartPolicy == corev1.RestartPolicyNever:
		return failure(p, ended), true
	case ended != nil && ended.ExitCode != 0:
		return crash(p, ended), true
	case waiting == nil:
		return Reason{}, false
	}
	switch waiting.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable":
		return Reason{
			Sentence: fmt.Sprintf("Pod %s cannot pull image %s: %s", p.Name, c.Image, pulling(waiting)),
			Remedy:   "Check --set images of that part, and --set imagePullSecrets for a private registry. Without a registry, use --bundle.",
		}, true
	case "CreateContainerConfigError":
		return Reason{
			Sentence: fmt.Sprintf("Pod %s cannot start: %s", p.Name, message(waiting)),
			Remedy:   "Make what the message names, or correct the value that names it. What fleetctl makes itself comes back by fleetctl install.",
		}, true
	case "CrashLoopBackOff":
		return crash(p, c.LastTerminationState.Terminated), true
	case "CreateContainerError", "RunContainerError":
		return Reason{Sentence: fmt.Sprintf("Pod %s cannot start: %s", p.Name, message(waiting))}, true
	}
	return Reason{}, false
}

// crash says how a container ends. The text is the same each time that it ends so.
func crash(p *corev1.Pod, ended *corev1.ContainerStateTerminated) Reason {
	r := Reason{
		Sentence: fmt.Sprintf("Pod %s is in CrashLoopBackOff.", p.Name),
		Remedy:   fmt.Sprintf("Read its log: kubectl logs -n %s %s --previous.", p.Namespace, p.Name),
	}
	if ended == nil {
		return r
	}
	r.Sentence = fmt.Sprintf("Pod %s is in CrashLoopBackOff: it ends with exit code %d", p.Name, ended.ExitCode)
	if ended.Reason == "OOMKilled" {
		r.Remedy = "It needs more memory than its limit: raise --set resources of that part."
	}
	if last := lastLine(ended.Message); last != "" {
		r.Sentence += ": " + last
	} else {
		r.Sentence += "."
	}
	return r
}

// failure says how a container ended that is not started again.
func failure(p *corev1.Pod, ended *corev1.ContainerStateTerminated) Reason {
	r := crash(p, ended)
	r.Sentence = fmt.Sprintf("Pod %s ended with exit code %d", p.Name, ended.ExitCode)
	if ended.Reason != "OOMKilled" {
		r.Remedy = fmt.Sprintf("Read its log: kubectl logs -n %s %s.", p.Namespace, p.Name)
	}
	if last := lastLine(ended.Message); last != "" {
		r.Sentence += ": " + last
	} else {
		r.Sentence += "."
	}
	return r
}

// pulling is why an image cannot be pulled: the same text whether kubelet tries just now
// or waits for its next try.
func pulling(w *corev1.ContainerStateWaiting) string {
	if _, why, found := strings.Cut(message(w), "ErrImagePull: "); found {
		return why
	}
	return message(w)
}

func message(w *corev1.ContainerStateWaiting) string {
	if w.Message == "" {
		return w.Reason + "."
	}
	return w.Message
}

// lastLine is the last line of a container's termination message, which is the end of
// its log where terminationMessagePolicy is FallbackToLogsOnError.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// newestEvent is the message of the newest event about an object that has one of the
// reasons; empty where there is none.
func newestEvent(events []corev1.Event, about metav1.Object, reasons ...string) string {
	return newestOf(events, map[types.UID]bool{about.GetUID(): true}, reasons...)
}

func newestOf(events []corev1.Event, about map[types.UID]bool, reasons ...string) string {
	newest, at := "", metav1.Time{}
	for i := range events {
		e := &events[i]
		if !about[e.InvolvedObject.UID] || !slices.Contains(reasons, e.Reason) {
			continue
		}
		if when := eventTime(e); newest == "" || !when.Before(&at) {
			newest, at = strings.TrimSpace(e.Message), when
		}
	}
	return newest
}

// eventTime is when an event happened last. Newer clients write a series and leave
// LastTimestamp out.
func eventTime(e *corev1.Event) metav1.Time {
	switch {
	case e.Series != nil:
		return metav1.NewTime(e.Series.LastObservedTime.Time)
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp
	case !e.EventTime.IsZero():
		return metav1.NewTime(e.EventTime.Time)
	}
	return e.CreationTimestamp
}
