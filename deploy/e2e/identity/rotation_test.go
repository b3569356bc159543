package identity_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/pause"
	"fleet.nationtech.io/eventlog/reader"
)

// manyDevices is as many light devices as two cores carry beside other tests; each
// has an agent's own connection, every other one over WebSocket. A thousand take two
// minutes.
const manyDevices = 200

// Certificates are renewed on servers that go on: each is reloaded, which ends the
// connections of all devices on it, once the devices of the one before are back. Of
// what devices report meanwhile nothing is lost, and nothing is stored twice.
func TestCertificatesAreRenewedUnderManyDevices(t *testing.T) {
	c := startCluster(t)
	crowd := c.crowd(manyDevices)
	before := c.certificates()
	for _, conf := range c.conf {
		if _, _, err := c.ca.Server(conf.Name); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.rolls(nil); err != nil {
		t.Fatal(err)
	}
	for i, serial := range c.certificates() {
		if slices.Contains(before, serial) {
			t.Errorf("certificate %d of %v is an old one", i, before)
		}
	}
	crowd.judge()
}

// The callout's issuer is replaced: the replicas get both seeds, then the servers are
// restarted one by one, as no server takes another issuer by a reload, then the
// replicas let the old seed go.
func TestTheIssuerIsReplacedUnderManyDevices(t *testing.T) {
	c := startCluster(t)
	crowd := c.crowd(manyDevices)
	old := c.issuer
	c.issuer = newSeed(t, nkeys.CreateAccount)
	for i, stop := range c.callouts {
		c.callouts[i] = c.callout(c.issuer, old)
		stop()
	}
	c.write()
	if err := c.rolls(nil); err == nil || !strings.Contains(err.Error(), "not supported for AuthCallout") {
		t.Errorf("a reload is to be refused: %v", err)
	}
	crowd.stand()
	if err := c.rolls(c.restart); err != nil {
		t.Fatal(err)
	}
	crowd.stand()
	for i, stop := range c.callouts {
		c.callouts[i] = c.callout(c.issuer)
		stop()
	}
	late := c.device("late", c.url())
	await(t, "a device that comes after all has changed", late.bus.Connected)
	crowd.judge()
}

// crowd is many light devices that report all the time.
type crowd struct {
	cluster *cluster
	devices []*light
	stop    func()
}

// light is a device's connection, as its agent has it, and no agent.
type light struct {
	id      string
	bus     *bus.Bus
	sent    int           // reports that were acknowledged; the reporting goroutine's
	slowest time.Duration // from the first try of a report to its acknowledgement
}

func (c *cluster) crowd(n int) *crowd {
	c.t.Helper()
	w := &crowd{cluster: c}
	for i := range n {
		url := c.url()
		if i%2 > 0 {
			url = c.webSocketURL()
		}
		w.devices = append(w.devices, c.device(fmt.Sprintf("pi-%04d", i), url))
	}
	w.stand()
	ctx, cancel := context.WithCancel(context.Background())
	var reporting sync.WaitGroup
	for _, d := range w.devices {
		reporting.Go(func() { d.report(ctx, c.t) })
	}
	w.stop = sync.OnceFunc(func() { cancel(); reporting.Wait() })
	c.t.Cleanup(w.stop)
	return w
}

// device lets a light device in.
func (c *cluster) device(id, url string) *light {
	c.t.Helper()
	settings := config.Default()
	settings.DeviceID, settings.Auth.Mode = id, config.ModeZitadelJWT
	settings.NATS = config.NATS{URL: url, CAFile: c.ca.File()}
	credentials := passport{identity.Proof{Token: c.provider.Device(id).Token(c.t), Number: 1, Ends: time.Now().Add(time.Hour)}}
	dialer, err := bus.NewDialer(settings, credentials, &trust.Clock{}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	d := &light{id: id}
	if d.bus, err = bus.New(bus.Options{Dial: dialer.Dial}); err != nil {
		c.t.Fatal(err)
	}
	c.run("the bus of "+id, d.bus.Run)
	return d
}

// passport is a token for life.
type passport struct{ proof identity.Proof }

func (p passport) Show() (identity.Proof, error) { return p.proof, nil }
func (passport) Accepted(identity.Proof)         {}
func (passport) Refused(identity.Proof)          {}

const (
	reportInterval = time.Second
	reportTimeout  = 3 * time.Minute
)

// report sends one report after the other, each again until it is acknowledged, as an
// agent does.
func (d *light) report(ctx context.Context, t *testing.T) {
	if !pause.For(ctx, rand.N(reportInterval)) {
		return
	}
	for ctx.Err() == nil {
		next := d.sent + 1
		m := nats.NewMsg(eventlog.StateSubject(d.id, "web"))
		m.Header.Set(jetstream.MsgIDHeader, ulid.Make().String())
		m.Data = fmt.Appendf(nil, `{"device_id":%q,"deployment":"web","phase":"Running","revision":%d}`, d.id, next)
		began := time.Now()
		for !d.say(m) {
			if time.Since(began) > reportTimeout {
				t.Errorf("%s: report %d is not acknowledged after %s", d.id, next, reportTimeout)
				return
			}
			time.Sleep(50 * time.Millisecond) // poll: it tries again
		}
		d.sent = next
		d.slowest = max(d.slowest, time.Since(began))
		pause.For(ctx, reportInterval)
	}
}

// say sends a report once and says whether it is in the log.
func (d *light) say(m *nats.Msg) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	answer, err := d.bus.Request(ctx, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
	var ack struct{ Seq uint64 }
	return err == nil && json.Unmarshal(answer.Data, &ack) == nil && ack.Seq > 0
}

// stand waits until all devices are connected.
func (w *crowd) stand() {
	w.cluster.t.Helper()
	await(w.cluster.t, "all devices are connected", func() bool {
		return !slices.ContainsFunc(w.devices, func(d *light) bool { return !d.bus.Connected() })
	})
}

// judge ends the reports and compares them with the log.
func (w *crowd) judge() {
	t := w.cluster.t
	t.Helper()
	w.stop()
	stored := map[string]map[uint64]int{}
	for e, err := range reader.Read(t.Context(), w.cluster.js, reader.Options{Subjects: []string{eventlog.FamilySubjects(eventlog.FamilyState)}}) {
		if err != nil {
			t.Fatal(err)
		}
		s, err := eventlog.Payload[eventlog.DeploymentState](e)
		if err != nil {
			t.Fatal(err)
		}
		if stored[s.DeviceID] == nil {
			stored[s.DeviceID] = map[uint64]int{}
		}
		stored[s.DeviceID][s.Revision]++
	}
	var all int
	var slowest time.Duration
	for _, d := range w.devices {
		all += d.sent
		slowest = max(slowest, d.slowest)
		for n := uint64(1); n <= uint64(d.sent); n++ {
			if times := stored[d.id][n]; times != 1 {
				t.Errorf("%s: report %d is stored %d times", d.id, n, times)
			}
		}
		if len(stored[d.id]) != d.sent {
			t.Errorf("%s: the log has %d reports of %d", d.id, len(stored[d.id]), d.sent)
		}
	}
	t.Logf("%d devices made %d reports; the slowest was acknowledged after %.1f s", len(w.devices), all, slowest.Seconds())
}
