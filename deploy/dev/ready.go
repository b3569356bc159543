package dev

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/v1alpha1"
)

// awaitDevices waits until every device is online in Kubernetes, and no longer
// than offlineAfter: an operator that decides nothing (ClusterMismatch) shows
// none, and the fleet is then there for a person to look at.
func (r *runner) awaitDevices(ctx context.Context) (online int, err error) {
	c, err := versioned.NewForConfig(r.fleet.RestConfig)
	if err != nil {
		return 0, fmt.Errorf("devices: %w", err)
	}
	deadline := time.NewTimer(offlineAfter)
	defer deadline.Stop()
	for {
		list, err := c.FleetV1alpha1().Devices().List(ctx, metav1.ListOptions{})
		if err != nil {
			return 0, fmt.Errorf("devices: %w", err)
		}
		seen := map[string]bool{}
		for _, d := range list.Items {
			seen[d.Name] = meta.IsStatusConditionTrue(d.Status.Conditions, v1alpha1.ConditionOnline)
		}
		online = 0
		for _, d := range r.fleet.Devices {
			if seen[d.ID] {
				online++
			}
		}
		if online == len(r.fleet.Devices) {
			return online, nil
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-t.C:
		case <-deadline.C:
			t.Stop()
			return online, nil
		case <-ctx.Done():
			t.Stop()
			return online, ctx.Err()
		}
	}
}
