package health

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Look reads what is known of a workload.
func Look(ctx context.Context, client kubernetes.Interface, w Workload) (World, error) {
	var world World
	var err error
	switch w.Kind {
	case "Deployment":
		world.Deployment, err = client.AppsV1().Deployments(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	case "StatefulSet":
		world.StatefulSet, err = client.AppsV1().StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	case "Job":
		world.Job, err = client.BatchV1().Jobs(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	default:
		return world, fmt.Errorf("%s: it has no pods that can be waited for", w)
	}
	switch {
	case apierrors.IsNotFound(err):
		return World{}, nil
	case err != nil:
		return world, fmt.Errorf("%s: %w", w, err)
	}
	sets, err := client.AppsV1().ReplicaSets(w.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return world, fmt.Errorf("replica sets of %s: %w", w, err)
	}
	pods, err := client.CoreV1().Pods(w.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return world, fmt.Errorf("pods of %s: %w", w, err)
	}
	claims, err := client.CoreV1().PersistentVolumeClaims(w.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return world, fmt.Errorf("claims of %s: %w", w, err)
	}
	events, err := client.CoreV1().Events(w.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return world, fmt.Errorf("events of %s: %w", w, err)
	}
	world.ReplicaSets, world.Pods, world.Claims, world.Events = sets.Items, pods.Items, claims.Items, events.Items
	return world, nil
}

const (
	lookEvery = time.Second
	// away is how long the API server may not answer meanwhile, as when its node restarts.
	away = 30 * time.Second
)

// NotReady says which workload did not become ready, and why.
type NotReady struct {
	Workload Workload
	State    State
	After    time.Duration
}

func (e *NotReady) Error() string {
	said := []string{fmt.Sprintf("%s is not ready after %s: %s", e.Workload, e.After.Round(time.Second), e.State.Summary)}
	for _, r := range e.State.Reasons {
		said = append(said, r.Sentence)
	}
	return strings.Join(said, "\n  ")
}

// Remedy is what to do about the gravest reason; empty where none is known.
func (e *NotReady) Remedy() string {
	for _, r := range e.State.Reasons {
		if r.Remedy != "" {
			return r.Remedy
		}
	}
	return ""
}

// Wait waits until a workload is ready, and tells each new state.
//
// Errors: *NotReady after the timeout, and at once where it failed for good; the context's; what the API server says, where it goes on for half a minute.
func Wait(ctx context.Context, client kubernetes.Interface, w Workload, timeout time.Duration, tell func(State)) error {
	begun := time.Now()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	answered := begun
	for last := ""; ; {
		world, err := Look(ctx, client, w)
		state := State{Summary: "it could not be read"}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && time.Since(answered) > away:
			return err
		case err == nil:
			answered = time.Now()
			state = Judge(world)
			if said := text(state); said != last {
				tell(state)
				last = said
			}
			if state.Ready {
				return nil
			}
			if state.Failed {
				return &NotReady{w, state, time.Since(begun)}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return &NotReady{w, state, time.Since(begun)}
		case <-tick.C:
		}
	}
}

func text(s State) string {
	said := s.Summary
	for _, r := range s.Reasons {
		said += "\n" + r.Sentence
	}
	return said
}
