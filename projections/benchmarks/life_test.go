package benchmarks_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
)

// lifeDeployments is how many Deployments the fleet of a benchmark has; each
// device runs two of them.
const lifeDeployments = 20

// fill makes the log of a fleet's life, so many events long, and returns how many
// keys the bucket device-state has then. Each device informs, is registered,
// labelled, seen online and assigned two of 20 Deployments. Then mostly reports
// come: containers restart, updates are Pending and some fail with differing
// errors, one report in 20 is hours late; beside them Deployments change,
// devices are relabelled, go offline and come back, and lose a Deployment.
func fill(b *testing.B, p place, events, devices int) (states int) {
	b.Helper()
	js, err := jetstream.New(p.nc, jetstream.WithPublishAsyncMaxPending(4096))
	mustNot(b, err)
	l := life{
		b: b, rand: rand.New(rand.NewPCG(1, 2)), now: time.Now(), devices: make([]lifeDevice, devices),
		send: func(m *nats.Msg) {
			_, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute))
			mustNot(b, err)
		},
	}
	for k := range l.revisions {
		l.deployment(k)
	}
	for i := range l.devices {
		l.born(i)
	}
	if l.sent > events {
		b.Fatalf("%d events are too few for the beginning of %d devices' life, which is %d", events, devices, l.sent)
	}
	for l.sent < events {
		l.next()
	}
	<-js.PublishAsyncComplete()
	p.settle(b)
	for i := range l.devices {
		for _, reported := range l.devices[i].reported {
			if reported {
				states++
			}
		}
	}
	return states
}

// life is the state of the fleet whose log is made.
type life struct {
	b         *testing.B
	rand      *rand.Rand
	now       time.Time
	send      func(*nats.Msg)
	sent      int
	revisions [lifeDeployments]uint64
	devices   []lifeDevice
}

type lifeDevice struct {
	counter  int    // of its reports
	ring     int    // a label
	offline  bool   // as the log says
	assigned [2]int // its Deployments
	told     [2]uint64
	reported [2]bool
	restarts [2]int
}

func (l *life) add(source string, d eventlog.Draft, err error) *nats.Msg {
	mustNot(l.b, err)
	l.now = l.now.Add(time.Millisecond)
	l.sent++
	return d.Message(source, ulid.Make().String())
}

func (l *life) event(subject string, typ eventlog.Type, payload any) {
	d, err := eventlog.NewDraft(subject, typ, l.now, payload)
	l.send(l.add("operator", d, err))
}

// report is an event of a device, which numbers what it reports.
func (l *life) report(i int, subject string, typ eventlog.Type, at time.Time, payload any) {
	d, err := eventlog.NewDraft(subject, typ, at, payload)
	m := l.add("agent", d, err)
	l.devices[i].counter++
	m.Header.Set(eventlog.HeaderCounter, fmt.Sprintf("9c1f%04x.%d", i, l.devices[i].counter))
	l.send(m)
}

func lifeApp(k int) string { return fmt.Sprintf("app-%02d", k) }

func lifeScore(k int, revision uint64) []byte { return score(k*1000 + int(revision)) }

func (l *life) deployment(k int) {
	l.revisions[k]++
	body := lifeScore(k, l.revisions[k])
	l.event(eventlog.DeploymentSubject("shop", lifeApp(k)), eventlog.DeploymentApplied, eventlog.Deployment{
		UID: "uid-" + lifeApp(k), Generation: int64(l.revisions[k]), Revision: l.revisions[k], Score: body, ScoreHash: eventlog.Hash(body),
	})
}

func (l *life) inform(i int) {
	l.report(i, eventlog.InfoSubject(name(i)), eventlog.InfoReported, l.now, eventlog.DeviceInfo{
		DeviceID: name(i), Labels: map[string]string{"site": fmt.Sprintf("site-%d", i%50), "ring": fmt.Sprintf("ring-%d", l.devices[i].ring)}, UpdatedAt: l.now,
		Inventory: eventlog.Inventory{Hostname: name(i), Arch: "arm64", OS: "linux", Kernel: "6.1.0-28-arm64", CPUCores: 4, MemoryMB: 3906, AgentVersion: "v1.2.3"},
	})
	l.event(eventlog.DeviceSubject(name(i)), eventlog.DeviceRelabeled, eventlog.Labels{Labels: map[string]eventlog.OwnedLabel{
		"site": {Value: fmt.Sprintf("site-%d", i%50), Owner: eventlog.OwnerDevice}, "ring": {Value: fmt.Sprintf("ring-%d", l.devices[i].ring), Owner: eventlog.OwnerDevice},
	}})
}

func (l *life) born(i int) {
	d := &l.devices[i]
	d.assigned = [2]int{i % lifeDeployments, (i + 1 + i/lifeDeployments%(lifeDeployments-1)) % lifeDeployments}
	l.event(eventlog.DeviceSubject(name(i)), eventlog.DeviceRegistered, eventlog.Registration{})
	l.inform(i)
	l.event(eventlog.DeviceSubject(name(i)), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseReceived", LastSeen: l.now})
	l.assign(i, 0)
	l.assign(i, 1)
}

func (l *life) assign(i, which int) {
	d := &l.devices[i]
	k := d.assigned[which]
	d.told[which] = l.revisions[k]
	l.send(l.add("operator", eventlog.Draft{
		Subject: eventlog.DesiredSubject(name(i), lifeApp(k)), Type: eventlog.DesiredAssigned, Time: l.now,
		Namespace: "shop", Revision: d.told[which], Data: lifeScore(k, d.told[which]),
	}, nil))
}

func (l *life) next() {
	i, which := l.rand.IntN(len(l.devices)), l.rand.IntN(2)
	d := &l.devices[i]
	switch k := l.rand.IntN(1000); {
	case k < 1:
		l.deployment(d.assigned[which])
	case k < 100:
		l.assign(i, which)
	case k < 110:
		l.send(l.add("operator", eventlog.Draft{
			Subject: eventlog.DesiredSubject(name(i), lifeApp(d.assigned[which])), Type: eventlog.DesiredWithdrawn, Time: l.now, Namespace: "shop",
		}, nil))
	case k < 150:
		typ := eventlog.DeviceOffline
		if d.offline {
			typ = eventlog.DeviceOnline
		}
		d.offline = !d.offline
		l.event(eventlog.DeviceSubject(name(i)), typ, eventlog.Presence{Reason: "PulseMissed", LastSeen: l.now, Timeout: 90})
	case k < 165:
		d.ring = l.rand.IntN(3)
		l.inform(i)
	default:
		l.state(i, which)
	}
}

func (l *life) state(i, which int) {
	d := &l.devices[i]
	k := d.assigned[which]
	s := eventlog.DeploymentState{
		DeviceID: name(i), Deployment: lifeApp(k), Phase: eventlog.PhaseRunning, LastEventAt: l.now,
		ScoreHash: eventlog.Hash(lifeScore(k, d.told[which])), Revision: d.told[which],
		Services: []eventlog.ServiceState{{Name: "web", State: "running", Health: "healthy", Ports: []string{"43117:80"}}},
	}
	switch chance := l.rand.IntN(100); {
	case chance < 5:
		s.Phase, s.Services[0].State, s.Services[0].Health = eventlog.PhasePending, "created", ""
	case chance < 15:
		why := fmt.Sprintf("pulling docker.io/library/nginx:1.27: dial tcp 10.0.%d.%d:443: connection refused", l.rand.IntN(256), l.rand.IntN(256))
		s.Phase, s.Reason, s.LastError, s.Services = eventlog.PhaseFailed, "ImagePullFailed", &why, nil
	case chance < 25:
		d.restarts[which]++
	}
	if s.Services != nil {
		s.Services[0].Restarts = d.restarts[which]
		s.Services[0].ContainerID = fmt.Sprintf("%06x%02x%s", i, d.restarts[which]%256, strings.Repeat("c", 4))
	}
	if l.rand.IntN(20) == 0 { // the device was offline when it happened
		s.LastEventAt = l.now.Add(-time.Duration(1+l.rand.IntN(360)) * time.Minute)
	}
	d.reported[which] = true
	l.report(i, eventlog.StateSubject(name(i), lifeApp(k)), eventlog.StateReported, s.LastEventAt, s)
}
