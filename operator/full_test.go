package operator_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/api/meta"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/operator/internal/term"
)

// fill has a device write until the log takes nothing more, however small.
func (w *world) fill(id string) {
	w.t.Helper()
	for size := 200_000; size > 0; size /= 20 {
		data := make([]byte, size)
		if _, err := rand.Read(data); err != nil {
			w.t.Fatal(err)
		}
		for {
			ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
			_, err := w.js.Publish(ctx, eventlog.StateSubject(id, "web"), data)
			cancel()
			if err == nil {
				continue
			}
			var refused *jetstream.APIError
			if !errors.As(err, &refused) {
				w.t.Fatal(err)
			}
			break
		}
	}
}

func (w *world) readySays(ns, name, says string) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%s says %q", name, says), func() string {
		c := meta.FindStatusCondition(w.deployment(ns, name).Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || !contains(c.Message, says) {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
}

// gauge waits for a metric to have a value.
func (r *replica) gauge(t *testing.T, name string, want float64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s %v", name, want), func() string {
		if n := r.metric(t, name); n != want {
			return fmt.Sprint(n)
		}
		return ""
	})
}

func TestAFullLogIsReportedAndItsReserveOpensOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	size := func(mib int64) func(*operator.Options) {
		return func(o *operator.Options) { o.LogMaxBytes = mib << 20 }
	}
	const small = 12
	op := w.operate(size(small))
	w.logged()
	pi := w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	lab := map[string]string{"site": "lab"}
	w.apply(deployment(ns, "web", "app:1", lab))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)

	w.fill("evil")
	w.apply(deployment(ns, "db", "app:1", lab))
	w.ready(ns, "db", v1alpha1.ReasonAllSucceeded)
	w.readySays(ns, "db", "lives on its reserve")
	w.readySays(ns, "web", "all run revision 1; the event log has reached its size and lives on its reserve")
	w.warned(term.ReasonLogReserve, "raise it before that is used up too")
	op.gauge(t, "fleet_operator_log_reserve_open", 1)
	op.gauge(t, "fleet_operator_log_full", 0)
	op.gauge(t, "fleet_operator_access_revoked_devices", 1)

	w.fill("evil")
	w.setImage(ns, "db", "app:2")
	w.ready(ns, "db", term.ReasonLogFull)
	w.ready(ns, "web", term.ReasonLogFull)
	w.readySays(ns, "web", "raise --log-max-bytes")
	w.warned(term.ReasonLogFull, "raise --log-max-bytes")
	op.gauge(t, "fleet_operator_log_full", 1)

	// Not even an election fits: that is said too.
	op.stop()
	op = w.operate(size(small))
	w.apply(deployment(ns, "late", "app:1", lab))
	w.ready(ns, "late", term.ReasonLogFull)
	op.gauge(t, "fleet_operator_log_full", 1)
	op.stop()

	op = w.operate(size(2 * small))
	pi.pulse()
	for _, name := range []string{"web", "db", "late"} {
		d := w.ready(ns, name, v1alpha1.ReasonAllSucceeded)
		if c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady); contains(c.Message, "reserve") {
			t.Errorf("%s still says %q", name, c.Message)
		}
	}
	op.gauge(t, "fleet_operator_log_full", 0)
	op.gauge(t, "fleet_operator_log_reserve_open", 0)
	got := slices.DeleteFunc(w.told(eventlog.FamilyAccess), func(s string) bool { return s != "access.revoked evil" })
	if len(got) != 1 {
		t.Errorf("%v: the device that flooded was cut off %d times, want once", got, len(got))
	}
}
