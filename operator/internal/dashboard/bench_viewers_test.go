package dashboard_test

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/projections/storytest"
)

// BenchmarkPageViewers is the processor time that 100 persons cost who look at one page of a fleet
// of ten thousand devices while 50 events a second come that change it: each follows the events, and
// fetches the page as a browser's script does, every two seconds at most. Beside it is what the same
// events cost while nobody looks. The browsers' side of the connections is in the process too, so
// what it costs is in the figure.
func BenchmarkPageViewers(b *testing.B) {
	const viewers, perSecond, devices, rounds = 100, 50, 10_000, 3
	const lasts, pause = 8 * time.Second, 2 * time.Second
	js := dashboardtest.NewLog(b)
	crowd(b, js, devices)
	s := dashboardtest.New(b, js)
	story := storytest.New(b)
	next := 0
	events := func() {
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		for range perSecond * int(lasts.Seconds()) {
			<-tick.C
			phase := eventlog.PhasePending
			if next/(devices/2)%2 == 1 {
				phase = eventlog.PhaseRunning
			}
			story.Report(fmt.Sprintf("device-%06d", next%(devices/2)), dashboardtest.Web, phase, "", 2)
			e := story.Events[len(story.Events)-1]
			if _, err := js.PublishMsg(b.Context(), &nats.Msg{Subject: e.Subject, Header: e.Header, Data: e.Data}); err != nil {
				b.Fatal(err)
			}
			next++
		}
	}
	for name, path := range map[string]string{"overview": "/", "rollout": "/rollouts/shop/web"} {
		b.Run(name, func(b *testing.B) {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * viewers}}
			fetch := func() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.Server.URL+path, nil)
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Accept-Encoding", "gzip") // as it comes: a browser's work is not measured
				answer, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				defer answer.Body.Close()
				n, err := io.Copy(io.Discard, answer.Body)
				if err != nil || answer.StatusCode != http.StatusOK || n == 0 {
					b.Errorf("%s is answered by %s and %d bytes: %v", path, answer.Status, n, err)
				}
			}
			var pages, heard atomic.Int64
			var looking sync.WaitGroup
			var leave func()
			look := func(int) {
				pages.Store(0)
				heard.Store(0)
				from := stream(b, s, path)
				done := make(chan struct{})
				var streams []io.Closer
				for range viewers {
					r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.Server.URL+from, nil)
					if err != nil {
						b.Fatal(err)
					}
					r.Header.Set("Accept", "text/event-stream")
					answer, err := client.Do(r)
					if err != nil || answer.StatusCode != http.StatusOK {
						b.Fatalf("%s is answered by %v: %v", from, answer, err)
					}
					streams = append(streams, answer.Body)
					changed := make(chan struct{}, 1)
					looking.Go(func() {
						for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
							if strings.HasPrefix(lines.Text(), "id:") {
								heard.Add(1)
								select {
								case changed <- struct{}{}:
								default:
								}
							}
						}
					})
					looking.Go(func() {
						for {
							select {
							case <-changed:
							case <-done:
								return
							}
							fetch()
							pages.Add(1)
							select {
							case <-time.After(pause):
							case <-done:
								return
							}
						}
					})
				}
				leave = func() {
					close(done)
					for _, c := range streams {
						_ = c.Close()
					}
					looking.Wait()
				}
			}
			for range b.N {
				all := benchtest.Alternate(b, rounds,
					benchtest.Turn{Name: "nobody looks", Run: events},
					benchtest.Turn{Name: fmt.Sprintf("%d look", viewers), Prepare: look, Run: events, Settle: func() { leave() }},
				)
				cost := benchtest.Median(all[1].CPU) - benchtest.Median(all[0].CPU)
				for _, turn := range all {
					b.Logf("%s: %s of processor in %s", turn.Name, benchtest.Median(turn.CPU).Round(time.Millisecond), lasts)
				}
				b.Logf("in the last round they heard of %d events, and loaded %d pages", heard.Load(), pages.Load())
				b.ReportMetric(100*cost.Seconds()/lasts.Seconds(), "%core/100viewers")
			}
		})
	}
}

// stream is where a page that is loaded now hears of what comes after it.
func stream(tb testing.TB, s *dashboardtest.Site, path string) string {
	tb.Helper()
	_, body := s.Get(path)
	at := regexp.MustCompile(`data-stream="([^"]*)"`).FindStringSubmatch(body)
	if at == nil {
		tb.Fatal("the page follows no events: " + body)
	}
	return html.UnescapeString(at[1])
}
