// Package sampletest runs the samples' Deployment on the devices of end-to-end tests: its
// images, its object, and whether it is ready.
package sampletest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/agent/sampleimage"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
	"fleet.nationtech.io/eventlog"
)

const namespace = "default"

// Load puts the samples' images into a device's own Podman.
func Load(t testing.TB, devices ...*systemdtest.Device) {
	t.Helper()
	content, err := os.ReadFile(built.Program(t, "fleet-hello"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range sampleimage.Tags() {
		file, _, err := sampleimage.Archive(content, tag)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range devices {
			d.Feed(file, "podman load --quiet")
		}
	}
}

// Apply is kubectl apply --server-side of a Deployment on all devices of site lab.
func Apply(ctx context.Context, kube versioned.Interface, name, tag string) error {
	d := v1alpha1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab"}},
			Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{
				Name: "web", Image: sampleimage.Repository + ":" + tag, Ports: []string{"8080:8080"},
			}}}},
			Rollout: v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
		},
	}
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	force := true
	_, err = kube.FleetV1alpha1().Deployments(namespace).Patch(ctx, name, types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: "kubectl", Force: &force})
	return err
}

// Ready says why the newest generation has not succeeded on so many devices; nil once it
// has.
func Ready(ctx context.Context, kube versioned.Interface, name string, devices int) error {
	d, err := kube.FleetV1alpha1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != d.Generation || d.Status.Aggregate == nil || int(d.Status.Aggregate.Succeeded) != devices {
		return fmt.Errorf("generation %d, %+v, %+v", d.Generation, c, d.Status.Aggregate)
	}
	return nil
}

// Ping asks a device for a ping and says why it did not answer.
func Ping(nc *nats.Conn, id string) error {
	m, err := nc.Request(eventlog.DeviceCommandSubject(id, eventlog.VerbPing), nil, time.Second)
	if err != nil {
		return fmt.Errorf("ping %s: %w", id, err)
	}
	var pong struct {
		DeviceID string `json:"device_id"`
	}
	if err := json.Unmarshal(m.Data, &pong); err != nil || pong.DeviceID != id {
		return fmt.Errorf("ping %s: %q, %w", id, m.Data, err)
	}
	return nil
}
