package operator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
)

func TestFromApplyToReadyToDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	w.fromApplyToReadyToDelete(t, op)
}

func TestOnThreeServersBesideAHostileWriter(t *testing.T) {
	t.Parallel()
	w := newClusteredWorld(t)
	var out record
	op := w.operate(out.logged, func(o *operator.Options) { o.Replicas = 3 })
	op.gauge(t, "fleet_operator_leader", 1) // so the streams have leaders of their own
	stop := w.attack()
	w.fromApplyToReadyToDelete(t, op)
	stop()
	elections := 1
	for line := range strings.Lines(out.String()) {
		if !contains(line, "a new term begins") && !contains(line, "the term failed") {
			continue
		}
		elections++ // a busy cluster may lose an answer; the attack gives none
		if contains(line, "API error") {
			t.Errorf("the attack cost the leader its term: %s", line)
		}
	}
	if got := w.told(eventlog.FamilyLeader); len(got) > elections || out.said(appender.ErrDeposed.Error()) {
		t.Errorf("elections: %v, want %d: the attack must not depose the leader", got, elections)
	}
	if attacks := len(w.told(eventlog.FamilyState)); attacks < 20 {
		t.Errorf("%d states in the log: the attack did not take place", attacks)
	}
	natstest.Settle(t, func(ctx context.Context) error {
		info, err := logstream.Inspect(ctx, w.js)
		if err == nil && info.Replicas != 3 {
			t.Errorf("the log has %d replicas, want 3", info.Replicas)
		}
		return err
	})
}

// attack has a hostile device write with headers that are none of its business,
// until stop.
func (w *world) attack() (stop func()) {
	w.t.Helper()
	nc, _ := w.dial(w.t)
	ctx, cancel := context.WithCancel(w.t.Context())
	var attacks sync.WaitGroup
	start := func(header func(i int) nats.Header) {
		attacks.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				m := &nats.Msg{
					Subject: eventlog.StateSubject("evil", "web"), Header: header(i),
					Data: []byte(`{"device_id":"evil","deployment":"web","phase":"Running"}`),
				}
				if _, err := natstest.Request(nc, m, 100*time.Millisecond); err != nil && ctx.Err() == nil && !errors.Is(err, nats.ErrTimeout) {
					w.t.Errorf("attack: %v", err)
					return
				}
			}
		})
	}
	start(func(i int) nats.Header { // holds open as many batches as it can
		return nats.Header{"Nats-Batch-Id": {fmt.Sprintf("evil-%d", i%60)}, "Nats-Batch-Sequence": {"1"}}
	})
	var token uint64
	natstest.Settle(w.t, func(ctx context.Context) (err error) {
		token, err = reader.LastSequence(ctx, w.js, eventlog.LogStream, eventlog.LeaderSubject)
		return err
	})
	start(func(int) nats.Header { // claims the fence
		return nats.Header{
			"Nats-Expected-Last-Subject-Sequence": {fmt.Sprint(token)}, "Nats-Expected-Last-Subject-Sequence-Subject": {eventlog.LeaderSubject},
		}
	})
	start(func(i int) nats.Header { // burns ids that it guesses
		return nats.Header{"Nats-Msg-Id": {fmt.Sprintf("shop/web@1/d%d", i)}}
	})
	return func() { cancel(); attacks.Wait() }
}

func (w *world) fromApplyToReadyToDelete(t *testing.T, op *replica) {
	t.Helper()
	w.device("pi-01", map[string]string{"site": "lab"})
	w.device("pi-02", map[string]string{"site": "shop"})
	w.labelled("pi-01")
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	d := w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	if a := d.Status.Aggregate; a == nil || a.MatchedDeviceCount != 1 || a.Succeeded != 1 {
		t.Errorf("aggregate %+v, want one matched and succeeded", a)
	}
	if d.Status.Revision != 1 || d.Finalizers[0] != v1alpha1.FinalizerWithdraw {
		t.Errorf("revision %d, finalizers %v", d.Status.Revision, d.Finalizers)
	}

	w.setImage(ns, "web", "app:2")
	if d = w.ready(ns, "web", v1alpha1.ReasonAllSucceeded); d.Status.Revision != 2 {
		t.Errorf("revision %d after a change, want 2", d.Status.Revision)
	}
	eventually(t, "the rollout completes", func() string {
		if got := w.told(eventlog.FamilyDeployment); got[len(got)-1] != "rollout.completed "+ns+"/web" {
			return fmt.Sprint(got)
		}
		return ""
	})
	eventually(t, "the counts on the Device", func() string {
		dev, err := w.fleet.FleetV1alpha1().Devices().Get(t.Context(), "pi-01", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if n := dev.Status.Deployments; n == nil || n.Total != 1 || n.Running != 1 || dev.Status.AgentVersion != "1.2.3" || len(dev.Status.Conditions) == 0 || dev.Status.Conditions[0].Status != "True" {
			return fmt.Sprintf("%+v", dev.Status)
		}
		return ""
	})

	if err := w.fleet.FleetV1alpha1().Deployments(ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the CR goes", func() string {
		_, err := w.fleet.FleetV1alpha1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return "it is there"
		}
		return ""
	})
	want := []string{
		"deployment.applied " + ns + "/web", "rollout.started " + ns + "/web", "desired.assigned pi-01 /web", "rollout.completed " + ns + "/web",
		"deployment.applied " + ns + "/web", "rollout.started " + ns + "/web", "desired.assigned pi-01 /web", "rollout.completed " + ns + "/web",
		"deployment.deleted " + ns + "/web", "desired.withdrawn pi-01 /web",
	}
	if diff := cmp.Diff(want, w.told(eventlog.FamilyDeployment, eventlog.FamilyDesired)); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
	eventually(t, "the bucket", func() string { return w.desired("pi-01.web") })
	op.ready(t)
	op.gauge(t, "fleet_operator_leader", 1)
}
