package operator_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator"
)

// What a replica said as the leader it no longer says once another leads: nobody
// would take the alarm back.
func TestAReplicaThatLostTheLeaseRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := logstream.Ensure(t.Context(), w.js, logstream.Config{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	a, err := appender.New(w.nc, appender.Options{Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Elect(t.Context(), eventlog.Leader{Identity: "other", ClusterUID: "another"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	op := w.operate(func(o *operator.Options) { // it tries for so long to renew what another holds
		o.LeaseDuration, o.RenewDeadline = 3*time.Second, 2*time.Second
	})
	op.gauge(t, "fleet_operator_cluster_mismatch", 1)
	core, err := kubernetes.NewForConfig(w.api.Config)
	if err != nil {
		t.Fatal(err)
	}
	leases := core.CoordinationV1().Leases("fleet-system")
	eventually(t, "another takes the Lease", func() string {
		l, err := leases.Get(t.Context(), "fleet-operator", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		thief, long := "thief", int32(3600)
		l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &thief, &long, &metav1.MicroTime{Time: time.Now()}
		if _, err := leases.Update(t.Context(), l, metav1.UpdateOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	op.gauge(t, "fleet_operator_cluster_mismatch", 0)
}
