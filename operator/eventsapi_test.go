package operator_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"fleet.nationtech.io/operator"
)

// The events of the log are served by a replica that leads and by one that stands by, and
// by none that was told not to.
func TestEventsAreServedByEachReplicaUnlessItIsToldNotTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(deployment("default", "web", "app:1", map[string]string{"site": "lab"}))
	first := w.operate()
	first.gauge(t, "fleet_operator_leader", 1)
	second := w.operate(func(o *operator.Options) { o.Identity = "op-2" })
	third := w.operate(func(o *operator.Options) { o.Identity, o.NoEventsAPI = "op-3", true })
	for name, r := range map[string]*replica{"the leader": first, "a replica that stands by": second} {
		eventually(t, name+" gives the events of the Deployment", func() string {
			code, body := r.get(t, "/api/v1/events?namespace=default&deployment=web&type=rollout.")
			var answer struct {
				Events []struct{ Type, Deployment string }
			}
			if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusOK {
				return body
			}
			for _, e := range answer.Events {
				if e.Type == "rollout.started" && e.Deployment == "web" {
					return ""
				}
			}
			return body
		})
	}
	if code, body := third.get(t, "/api/v1/events"); code != http.StatusNotFound || strings.Contains(body, "rollout") {
		t.Errorf("a replica without the API answers %d %q", code, body)
	}
	eventually(t, "the rollout is told to Prometheus", func() string {
		_, body := second.get(t, "/metrics")
		if !strings.Contains(body, `fleet_rollout_phase{deployment_name="web",deployment_namespace="default",phase="Progressing"} 1`) {
			return "no phase of the rollout"
		}
		return ""
	})
}
