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

// However often reports come, the Kubernetes API gets at most one status patch a
// second, counted there: five hundred reports in a second are two. In the end the
// status counts them all.
func TestAStormOfReportsIsTwoStatusPatches(t *testing.T) {
	const devices = 500
	m := newMachine(t)
	f := m.up()
	nc, err := nats.Connect(f.env["FLEET_NATS_URL"], nats.UserInfo(f.env["FLEET_LAB_USER"], f.env["FLEET_LAB_PASSWORD"]), nats.Timeout(atOnce))
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
		if _, err := nc.Request("fleet.evt.info."+id(i), body, atOnce); err != nil {
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
	f.eventually(timeout, func() error {
		pulses()
		a, err := aggregate()
		if err != nil || a == nil || a.MatchedDeviceCount != devices {
			return fmt.Errorf("the status counts %+v, want %d matched (%w)", a, devices, err)
		}
		return nil
	})
	storms := []struct {
		phase   string
		counted func(*v1alpha1.DeploymentAggregate) int32
	}{
		{"Running", func(a *v1alpha1.DeploymentAggregate) int32 { return a.Succeeded }},
		{"Failed", func(a *v1alpha1.DeploymentAggregate) int32 { return a.Failed }},
	}
	for _, storm := range storms {
		var idle int
		f.settled(&idle, pulses)
		began := time.Now()
		for i := range devices {
			body := fmt.Appendf(nil, `{"device_id":%q,"deployment":"storm","phase":%q,"last_event_at":%q,"last_error":null}`, id(i), storm.phase, time.Now().UTC().Format(time.RFC3339))
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
		// Every patch began in the time that is measured after the count, and the
		// next begins a second later at the earliest: however slow the machine, so
		// many fit in and no more.
		held := func(when string) {
			patches := f.patches() - idle
			took := time.Since(began)
			t.Logf("%s, %s: %d status patches in %v", storm.phase, when, patches, took.Round(time.Millisecond))
			if most := 1 + int(took/time.Second); patches > most {
				t.Errorf("%s, %s: %d status patches in %v, want at most %d: one a second", storm.phase, when, patches, took, most)
			}
		}
		held(fmt.Sprintf("%d reports", devices))
		f.eventually(timeout, func() error {
			a, err := aggregate()
			if err != nil || a == nil || storm.counted(a) != devices {
				return fmt.Errorf("the status counts %+v, want %d (%w)", a, devices, err)
			}
			return nil
		})
		held(fmt.Sprintf("all counted %v after the last", time.Since(sent).Round(10*time.Millisecond)))
	}
	m.stop()
}

// settled waits until the writer of statuses has nothing more to say, and gives
// how many patches there were by then.
func (f *fleet) settled(patches *int, meanwhile func()) {
	f.t.Helper()
	*patches = f.patches()
	f.eventually(timeout, func() error {
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
