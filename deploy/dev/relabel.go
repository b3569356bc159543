package dev

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/eventlog"
)

func (s *story) moveAway(ctx context.Context) error {
	if err := s.label(ctx, `{"metadata":{"labels":{"site":"other"}}}`); err != nil {
		return err
	}
	return until(ctx, 60*time.Second, func(ctx context.Context) (bool, string, error) {
		states, err := s.states(ctx)
		if err != nil {
			return false, "", err
		}
		if st, there := states[s.devices[0]]; there {
			return false, "it still reports " + string(st.Phase), nil
		}
		s.tell("%s no longer runs %s, although its agent still reports site=lab; %d devices still run it", s.devices[0], s.name, len(states))
		return true, "", nil
	})
}

func (s *story) moveBack(ctx context.Context) error {
	if err := s.label(ctx, `{"metadata":{"labels":{"site":null}}}`); err != nil {
		return err
	}
	// A label is not of the Deployment's generation: its status may speak of what was
	// before for a second.
	err := until(ctx, 60*time.Second, func(ctx context.Context) (bool, string, error) {
		states, err := s.states(ctx)
		st, there := states[s.devices[0]]
		return there && st.Phase == eventlog.PhaseRunning, fmt.Sprintf("%s reports %q", s.devices[0], st.Phase), err
	})
	if err != nil {
		return err
	}
	if err := s.ready(2)(ctx); err != nil {
		return err
	}
	s.tell("the label that the agent reports came back, and with it the Deployment")
	return nil
}

// label is `kubectl label`, which patches as the field manager kubectl-label.
func (s *story) label(ctx context.Context, patch string) error {
	_, err := s.kube.FleetV1alpha1().Devices().Patch(ctx, s.devices[0], types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-label"})
	return err
}
