package operator_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"fleet.nationtech.io/operator"
)

// A replica that leads and one that stands by serve the dashboard; one that was not told to
// serves none.
func TestEachReplicaServesTheDashboardThatItIsToldTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(deployment("default", "web", "app:1", map[string]string{"site": "lab"}))
	loopback := func(o *operator.Options) { o.DashboardAddr = "127.0.0.1:0" }
	first := w.operate(loopback)
	first.gauge(t, "fleet_operator_leader", 1)
	second := w.operate(loopback, func(o *operator.Options) { o.Identity = "op-2" })
	none := w.operate(func(o *operator.Options) { o.Identity = "op-3" })
	for name, r := range map[string]*replica{"the leader": first, "a replica that stands by": second} {
		at := r.DashboardAddr(t.Context())
		eventually(t, name+" shows the Deployment", func() string {
			for _, path := range []string{"/deployments/default/web", "/api/v1/rollouts/default/web"} {
				if code, body := page(t, at, path); code != http.StatusOK || !strings.Contains(body, "web") {
					return body
				}
			}
			return ""
		})
	}
	if at := none.DashboardAddr(t.Context()); at != nil {
		t.Errorf("a replica that was not told to serves a dashboard at %s", at)
	}
	if _, err := operator.New(operator.Options{URL: "nats://127.0.0.1:1", RestConfig: w.api.Config, DashboardAddr: "0.0.0.0:0"}); err == nil {
		t.Error("a dashboard for the network needs no word")
	}
}

// page asks a dashboard.
func page(t *testing.T, at net.Addr, path string) (int, string) {
	t.Helper()
	answer, err := http.Get("http://" + at.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}
