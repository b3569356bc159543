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
	counts := func() (matched, succeeded int64, err error) {
		d, err := f.kube.FleetV1alpha1().Deployments("default").Get(context.Background(), "storm", metav1.GetOptions{})
		if err != nil || d.Status.Aggregate == nil {
			return 0, 0, err
		}
		return int64(d.Status.Aggregate.MatchedDeviceCount), int64(d.Status.Aggregate.Succeeded), nil
	}
	f.eventually(90*time.Second, func() error {
		pulses()
		matched, _, err := counts()
		if err != nil || matched != devices {
			return fmt.Errorf("%d devices matched, want %d (%w)", matched, devices, err)
		}
		return nil
	})
	quiet := f.patches()
	f.eventually(30*time.Second, func() error { // until the writer has nothing more to say
		pulses()
		time.Sleep(1500 * time.Millisecond)
		now := f.patches()
		defer func() { quiet = now }()
		if now != quiet {
			return fmt.Errorf("%d status patches and counting", now)
		}
		return nil
	})

	began := time.Now()
	for i := range devices {
		body := fmt.Appendf(nil, `{"device_id":%q,"deployment":"storm","phase":"Running","last_event_at":%q,"last_error":null}`, id(i), time.Now().UTC().Format(time.RFC3339))
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
	inTheSecond := f.patches() - quiet
	if inTheSecond > 2 {
		t.Errorf("%d status patches in that second, want at most 2", inTheSecond)
	}
	f.eventually(2*time.Second, func() error {
		_, succeeded, err := counts()
		if err != nil || succeeded != devices {
			return fmt.Errorf("the status counts %d, want %d (%w)", succeeded, devices, err)
		}
		return nil
	})
	t.Logf("%d reports in %v: %d status patches in that time, all counted %v after the last", devices,
		sent.Sub(began).Round(time.Millisecond), inTheSecond, time.Since(sent).Round(10*time.Millisecond))
	m.stop()
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
