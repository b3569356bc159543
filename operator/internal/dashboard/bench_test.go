package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
)

// crowd appends a fleet of so many devices with 50 Deployments to a log: two, which all devices
// have, are in the middle of a rollout; each of the others is on an equal share of the devices.
func crowd(tb testing.TB, js jetstream.JetStream, devices int) {
	tb.Helper()
	const deployments = 50
	s := storytest.New(tb)
	name := func(i int) string { return fmt.Sprintf("device-%06d", i) }
	group := func(i int) string { return fmt.Sprintf("g%02d", i%(deployments-2)) }
	for i := range devices {
		s.Device(name(i), map[string]string{"site": "lab", "group": group(i), "zone": map[bool]string{true: "a", false: "b"}[i == 0]})
		if i%100 == 7 {
			s.Offline(name(i))
		} else {
			s.Online(name(i))
		}
	}
	report := func(i int, key fleet.Key, revision uint64) {
		if i%200 == 9 {
			s.State(name(i), key, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: "CrashLoop", Revision: revision})
		} else {
			s.Report(name(i), key, eventlog.PhaseRunning, "", revision)
		}
	}
	for n := range deployments - 2 {
		key := storytest.Key("shop", fmt.Sprintf("app-%02d", n))
		applied := s.Apply(key, 1, storytest.Podman("registry.example/app:1"), func(d *eventlog.Deployment) {
			d.Selector = eventlog.Selector{MatchLabels: map[string]string{"group": group(n)}}
		})
		s.Rollout(key, eventlog.RolloutStarted, 1, devices/(deployments-2))
		for i := n; i < devices; i += deployments - 2 {
			s.Assign(name(i), key, 1, applied)
			report(i, key, 1)
		}
		s.Rollout(key, eventlog.RolloutCompleted, 1, devices/(deployments-2))
	}
	for _, key := range []fleet.Key{dashboardtest.Web, storytest.Key("shop", "till")} {
		s.Apply(key, 1, storytest.Podman("registry.example/web:1"), storytest.Batched)
		start := s.Start(key, 1, devices)
		for i := range devices {
			s.Give(name(i), key, 1, 1, start)
			report(i, key, 1)
		}
		s.Run(key, eventlog.RolloutCompleted, eventlog.Rollout{Revision: 1})
		s.Apply(key, 2, storytest.Podman("registry.example/web:2"), storytest.Batched)
		start = s.Start(key, 2, devices)
		s.Run(key, eventlog.RolloutBatchStarted, eventlog.Rollout{Revision: 2, Batch: 2})
		for i := range devices / 2 {
			s.Give(name(i), key, 2, 1+min(i, 1), start)
			if i%3 > 0 {
				report(i, key, 2)
			}
		}
	}
	async, err := jetstream.New(js.Conn(), jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range s.Events {
		if _, err := async.PublishMsgAsync(&nats.Msg{Subject: e.Subject, Header: e.Header, Data: e.Data}, jetstream.WithStallWait(time.Minute)); err != nil {
			tb.Fatal(err)
		}
	}
	<-async.PublishAsyncComplete()
}

// moving lets the dashboard's clock jump with each look at it, so that no answer is one that
// was kept.
func moving() func(*dashboard.Options) {
	var looks atomic.Int64
	return func(o *dashboard.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(looks.Add(1)) * 10 * time.Second) }
	}
}

// measured are the pages whose size and time are promised.
var measured = map[string]string{
	"overview": "/", "rollout": "/rollouts/shop/web", "device list": "/devices", "device": "/devices/device-000009", "deployment": "/deployments/shop/web", "events": "/events",
}

// A page of a large fleet is less than 100 kB to transfer.
func TestPagesOfALargeFleetAreSmall(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	crowd(t, js, 10_000)
	s := dashboardtest.New(t, js)
	for _, path := range []string{"/", "/deployments", "/deployments/shop/web", "/rollouts/shop/web", "/devices", "/devices?state=failing", "/devices/device-000009", "/changes?from=1"} {
		var body string
		dashboardtest.Eventually(t, path+" is answered", func() bool { // a slow machine takes longer than a request may
			answer, text := s.Get(path, "Accept-Encoding", "gzip")
			body = text
			return answer.StatusCode == http.StatusOK && answer.Header.Get("Content-Encoding") == "gzip"
		})
		t.Logf("%s: %d bytes", path, len(body))
		if len(body) > 100_000 {
			t.Errorf("%s is %d bytes, compressed", path, len(body))
		}
	}
}

// BenchmarkDashboard is what pages of a fleet of ten thousand devices with 50 Deployments, two
// of them in the middle of a rollout, cost the server, beside what they are made of: the model
// alone, and the template alone. A moment of the past is folded from a checkpoint.
func BenchmarkDashboard(b *testing.B) {
	const rounds = 9
	js := dashboardtest.NewLog(b)
	crowd(b, js, 10_000)
	s := dashboardtest.New(b, js, moving())
	s.Get("/") // so that the log is folded
	pages, err := page.New()
	if err != nil {
		b.Fatal(err)
	}
	models := map[string]func(moments.Fleet) any{
		"overview":    func(f moments.Fleet) any { return model.OverviewOf(f.Catalog, true, model.Present{}) },
		"rollout":     func(f moments.Fleet) any { m, _ := model.RolloutOf(f.Catalog, true, dashboardtest.Web); return m },
		"device list": func(f moments.Fleet) any { return model.DevicesOf(f.Catalog, true, model.DeviceFilter{Size: 100}) },
		"device":      func(f moments.Fleet) any { m, _ := model.DeviceOf(f.Catalog, true, "device-000009"); return m },
		"deployment":  func(f moments.Fleet) any { m, _ := model.DeploymentOf(f.Catalog, true, dashboardtest.Web); return m },
		"events":      func(f moments.Fleet) any { return model.EventsOf(model.MomentOf(f.Catalog, true), nil) },
	}
	templates := map[string]string{
		"overview": page.Overview, "rollout": page.Rollout, "device list": page.Devices, "device": page.Device, "deployment": page.Deployment, "events": page.Events,
	}
	read := map[string][]string{"device": model.DeviceSubjects("device-000009"), "deployment": model.DeploymentSubjects(dashboardtest.Web)}
	for name, path := range measured {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				var m any
				size := 0
				alone := func() {
					if err := s.Moments.At(b.Context(), moments.Moment{}, func(f moments.Fleet) { m = models[name](f) }); err != nil {
						b.Fatal(err)
					}
				}
				turns := []benchtest.Turn{
					{Name: "the page", Run: func() {
						_, body := s.Get(path, "Accept-Encoding", "gzip")
						size = len(body)
					}},
					{Name: "the model alone", Run: alone},
					{Name: "the template alone", Prepare: func(int) { alone() }, Run: func() {
						if _, err := pages.Render(page.Page{Name: templates[name], Title: name, Path: path, Moment: model.Moment{Sequence: 1}, Model: m}); err != nil {
							b.Fatal(err)
						}
					}},
				}
				if subjects := read[name]; len(subjects) > 0 {
					turns = append(turns, benchtest.Turn{Name: "its events alone", Run: func() { readAlone(b, js, subjects) }})
				}
				all := benchtest.Alternate(b, rounds, turns...)
				for _, turn := range all {
					b.Logf("%s: %s, median of %d (processor %s)", turn.Name, benchtest.Median(turn.Wall).Round(100*time.Microsecond), rounds, benchtest.Median(turn.CPU).Round(100*time.Microsecond))
				}
				b.Logf("%d bytes, compressed", size)
				b.ReportMetric(float64(benchtest.Median(all[0].Wall).Microseconds())/1000, "ms/page")
				b.ReportMetric(float64(size), "bytes/page")
			}
		})
	}
	b.Run("a moment of the past", func(b *testing.B) { past(b, js, s, rounds) })
}

// readAlone reads the events on some subjects by a consumer, and does nothing with them.
func readAlone(b *testing.B, js jetstream.JetStream, subjects []string) {
	for _, err := range reader.Read(b.Context(), js, reader.Options{Subjects: subjects}) {
		if err != nil {
			b.Fatal(err)
		}
	}
}

// past measures the first look at moments, about 1000 events behind a checkpoint.
func past(b *testing.B, js jetstream.JetStream, s *dashboardtest.Site, rounds int) {
	log, err := logstream.Inspect(b.Context(), js)
	if err != nil {
		b.Fatal(err)
	}
	v, err := asof.At(b.Context(), js, asof.Moment{Sequence: log.Last - 20_000}, asof.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := (checkpoint.Store{JS: js}).Save(b.Context(), log.ID, v); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		at := log.Last - 19_000
		all := benchtest.Alternate(b, rounds,
			benchtest.Turn{Name: "the page", Run: func() {
				at++
				if _, body := s.Get(fmt.Sprintf("/api/v1/overview?at=%d", at)); !json.Valid([]byte(body)) {
					b.Fatal(body)
				}
			}},
			benchtest.Turn{Name: "the view alone", Run: func() {
				at++
				if _, err := asof.At(b.Context(), js, asof.Moment{Sequence: at}, asof.Options{}); err != nil {
					b.Fatal(err)
				}
			}},
		)
		for _, turn := range all {
			b.Logf("%s: %s, median of %d", turn.Name, benchtest.Median(turn.Wall).Round(time.Millisecond), rounds)
		}
	}
}
