package reconcile_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
)

// The log cannot forget: a failure that lasts is told once, or as often as is
// written here, whatever counts on meanwhile.
func TestALastingFailureIsReportedOnce(t *testing.T) {
	unhealthy := `{"healthCheck":{"exec":["/ok"],"interval":"1s","retries":2},"image":"a","name":"web"}`
	for name, test := range map[string]struct {
		service string
		begin   func(*fake)
		reason  string
		first   int // reports in the first ten minutes
		after   int // and in the two hours after them
	}{
		"a check fails": {service: unhealthy, reason: plan.ReasonUnhealthy, first: 6},
		"a check fails, and its output counts and tells the time": {
			service: unhealthy, reason: plan.ReasonUnhealthy, first: 6, after: 2,
			begin: func(f *fake) {
				f.output = func(n int) string { return fmt.Sprintf("try %d at %s took %dms", n, time.Now(), n%7) }
			},
		},
		"a check fails, and its output is another each time": {
			service: unhealthy, reason: plan.ReasonUnhealthy, first: 8, after: 14,
			begin: func(f *fake) {
				f.output = func(n int) string { return []string{"red", "green", "blue"}[n%3] }
			},
		},
		"a container crashes in a loop": {
			service: service("web", "a"), reason: plan.ReasonCrashLoop, first: 18, after: 14,
			begin: func(f *fake) { f.crashes = true },
		},
		"an image can't be had, and the registry's message has a number": {
			service: service("web", "b"), reason: engine.ReasonImagePullFailed, first: 3, after: 2,
			begin: func(f *fake) {
				n := 0
				f.pull["b"] = func() error {
					n++
					return &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonImagePullFailed, Err: fmt.Errorf("request 8c%dab: timeout after %d ms", n, 100+n)}
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake()
				if test.begin != nil {
					test.begin(e)
				}
				w, stop := keep(t, e)
				defer stop()
				w.source.set(assigned(test.service))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				w.phase(t, eventlog.PhaseFailed, test.reason)
				first := w.reports.count()
				if first > test.first {
					t.Errorf("%d reports in 10 minutes, want at most %d", first, test.first)
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if n := w.reports.count() - first; n > test.after {
					t.Errorf("%d more reports in 2 hours, want at most %d", n, test.after)
				}
				w.phase(t, eventlog.PhaseFailed, test.reason)
			})
		})
	}
}
