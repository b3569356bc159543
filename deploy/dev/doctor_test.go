package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/projections/attention"
)

// In a local fleet that is well the doctor finds nothing, by passwords and by tokens over
// TLS, in its Kubernetes too; and nothing needs a person.
func TestNothingIsWrongWithALocalFleet(t *testing.T) {
	t.Parallel()
	for _, auth := range []string{AuthPassword, AuthOIDC} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			o := Options{DataDir: t.TempDir(), Devices: 3, Engine: EngineMemory, Auth: auth, PulseInterval: 4 * time.Second}
			if err := Run(t.Context(), o, func(ctx context.Context, f *Fleet) error { return examined(ctx, t, f) }); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// online waits until each device of a fleet is.
func online(ctx context.Context, f *Fleet) error {
	c, err := versioned.NewForConfig(f.RestConfig)
	if err != nil {
		return err
	}
	return until(ctx, 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		list, err := c.FleetV1alpha1().Devices().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		are := 0
		for _, d := range list.Items {
			if meta.IsStatusConditionTrue(d.Status.Conditions, v1alpha1.ConditionOnline) {
				are++
			}
		}
		return are == len(f.Devices), fmt.Sprintf("%d of %d devices are online", are, len(f.Devices)), nil
	})
}

func examined(ctx context.Context, t *testing.T, f *Fleet) error {
	if err := online(ctx, f); err != nil { // a fleet is well once its devices are heard
		return err
	}
	env := map[string]string{
		"FLEET_NATS_URL": f.Env.NATSURL, "FLEET_NATS_USER": f.Env.User, "FLEET_NATS_PASSWORD": f.Env.Password, "FLEET_NATS_CA": f.Env.NATSCA,
	}
	ask := func(answer any, args ...string) error {
		var out, errs bytes.Buffer
		code := fleetctl.Run(ctx, cli.Streams{Out: &out, Err: &errs, Name: "fleetctl", Now: time.Now, Getenv: func(k string) string { return env[k] }}, args)
		if err := json.Unmarshal(out.Bytes(), answer); err != nil || code != cli.ExitOK {
			return fmt.Errorf("fleetctl %v: exit code %d: %s%s", args, code, &out, &errs)
		}
		return nil
	}
	var said struct{ Findings []doctor.Finding }
	for young, deadline := true, time.Now().Add(time.Minute); young && time.Now().Before(deadline); { // a pulse of before the servers had a stream for it is held by none
		said.Findings = nil
		if err := ask(&said, "doctor", "-o", "json", "--kubeconfig", f.Env.Kubeconfig); err != nil {
			return err
		}
		young = slices.ContainsFunc(said.Findings, func(f doctor.Finding) bool {
			return f.Check == doctor.CheckPulses && strings.HasPrefix(f.Remedy, "ask again")
		})
	}
	for _, one := range said.Findings {
		t.Logf("%+v", one)
		if one.Status == doctor.Warning && (one.Check == doctor.CheckConnection || one.Check == doctor.CheckClocks) {
			continue // a machine that stalled for a second says nothing of the fleet
		}
		if one.Status != doctor.OK && (one.Status != doctor.LeftOut || one.Check != doctor.CheckDisk && one.Check != doctor.CheckStorage) {
			t.Errorf("%+v", one)
		}
	}
	var needs struct{ Items []attention.Item }
	if err := ask(&needs, "top", "-o", "json"); err != nil {
		return err
	}
	for _, i := range needs.Items {
		t.Errorf("%+v", i)
	}
	return nil
}
