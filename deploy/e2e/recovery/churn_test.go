//go:build e2e

package recovery_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
)

// Five hundred reports in a second cost the Kubernetes API two status patches at
// most, counted there, and within two seconds the status counts them all.
func TestAStormOfReportsIsTwoStatusPatches(t *testing.T) {
	const devices = 500
	m := newMachine(t)
	f := m.up()
	nc, err := nats.Connect(f.env["FLEET_NATS_URL"], nats.UserInfo(f.env["FLEET_LAB_USER"], f.env["FLEET_LAB_PASSWORD"]))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	id := func(i int) string { return fmt.Sprintf("sim-%03d", i) }
	pulses := func() {
		for i := range devices {
			_ = nc.Publish("fleet.pulse."+id(i), fmt.Appendf(nil, `{"device_id":%q,"at":%q}`, id(i), time.Now().UTC().Format(time.RFC3339)))
		}
	}
	for i := range devices {
		body := fmt.Appendf(nil, `{"device_id":%q,"labels":{"storm":"yes"},"inventory":{},"updated_at":"2026-01-01T00:00:00Z"}`, id(i))
		if _, err := nc.Request("fleet.evt.info."+id(i), body, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.applyJSON("default", "storm", `{"matchLabels":{"storm":"yes"}}`, podmanScore("localhost/fleet-hello:1", `"8080"`)); err != nil {
		t.Fatal(err)
	}
	aggregate := func() (*v1alpha1.DeploymentAggregate, error) {
		d, err := f.kube.FleetV1alpha1().Deployments("default").Get(context.Background(), "storm", metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return d.Status.Aggregate, nil
	}
	f.eventually(patience, func() error {
		pulses()
		a, err := aggregate()
		if err != nil || a == nil || a.MatchedDeviceCount != devices {
			return fmt.Errorf("the status counts %+v, want %d matched (%w)", a, devices, err)
		}
		return nil
	})
	var quiet int
	f.settled(&quiet, pulses)

	// A machine that does other work too may be late once. It is not late each time.
	const storms, most = 3, 2 * time.Second
	for storm := 1; ; storm++ {
		began := time.Now()
		phase, counted := "Running", func(a *v1alpha1.DeploymentAggregate) int32 { return a.Succeeded }
		if storm%2 == 0 {
			phase, counted = "Failed", func(a *v1alpha1.DeploymentAggregate) int32 { return a.Failed }
		}
		for i := range devices {
			body := fmt.Appendf(nil, `{"device_id":%q,"deployment":"storm","phase":%q,"last_event_at":%q,"last_error":null}`, id(i), phase, time.Now().UTC().Format(time.RFC3339))
			if err := nc.Publish("fleet.evt.state."+id(i)+".storm", body); err != nil {
				t.Fatal(err)
			}
			if next := began.Add(time.Duration(i+1) * time.Second / devices); i%10 == 9 {
				time.Sleep(time.Until(next)) // spread over the whole second
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		during := f.patches() - quiet
		looked := time.Since(began) // the second and what the machine added to it
		f.eventually(patience, func() error {
			a, err := aggregate()
			if err != nil || a == nil || counted(a) != devices {
				return fmt.Errorf("the status counts %+v, want %d (%w)", a, devices, err)
			}
			return nil
		})
		late := time.Since(sent)
		t.Logf("%d reports in %v: %d status patches in %v, all counted %v after the last", devices,
			sent.Sub(began).Round(time.Millisecond), during, looked.Round(time.Millisecond), late.Round(10*time.Millisecond))
		if allowed := 1 + int((looked+time.Second/2)/time.Second); during > allowed {
			t.Errorf("%d status patches in %v, want at most %d: one a second", during, looked, allowed)
		}
		if late <= most {
			break
		}
		if storm == storms {
			t.Fatalf("all counted %v after the last report in each of %d storms, want %v", late, storms, most)
		}
		f.settled(&quiet, pulses)
	}
	m.stop()
}

// settled waits until the writer of statuses has nothing more to say, and gives
// how many patches there were by then.
func (f *fleet) settled(patches *int, meanwhile func()) {
	f.t.Helper()
	*patches = f.patches()
	f.eventually(patience, func() error {
		meanwhile()
		time.Sleep(1500 * time.Millisecond)
		before := *patches
		if *patches = f.patches(); *patches != before {
			return fmt.Errorf("%d status patches and counting", *patches)
		}
		return nil
	})
}

// patches counts the writes to the status of Deployments, as the API server itself counts them.
func (f *fleet) patches() int {
	f.t.Helper()
	text, err := f.kube.RESTClient().Get().AbsPath("/metrics").DoRaw(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	total := 0
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, "apiserver_request_total{") || !strings.Contains(line, `group="fleet.nationtech.io"`) ||
			!strings.Contains(line, `resource="deployments"`) || !strings.Contains(line, `subresource="status"`) {
			continue
		}
		n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			f.t.Fatalf("%s: %v", line, err)
		}
		if !strings.Contains(line, `verb="GET"`) {
			total += int(n)
		}
	}
	return total
}
