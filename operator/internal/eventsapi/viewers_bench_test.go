package eventsapi_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/natstest"
)

// BenchmarkViewers is the processor time that 100 clients cost who follow a log of 50 events a
// second, beside the same events with nobody who follows. The clients are in the process too,
// so what they cost is in the figure.
func BenchmarkViewers(b *testing.B) {
	const viewers, perSecond, rounds = 100, 50, 3
	const lasts = 5 * time.Second
	_, js := natstest.Start(b).Connect(b)
	natstest.EnsureLog(b, js, 1)
	l := followed(b, js)
	events := func() {
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		for i := range perSecond * int(lasts.Seconds()) {
			<-tick.C
			l.online(fmt.Sprintf("pi-%d", i%20))
		}
	}
	var feeds []*feed
	var got atomic.Int64
	leave := func() {
		want := int64(viewers * perSecond * int(lasts.Seconds()))
		l.eventually("each gets each event", func() bool { return got.Load() == want })
		for _, f := range feeds {
			f.close()
		}
		feeds = nil
	}
	for range b.N {
		all := benchtest.Alternate(b, rounds,
			benchtest.Turn{Name: "nobody follows", Run: events},
			benchtest.Turn{
				Name: fmt.Sprintf("%d follow", viewers),
				Prepare: func(int) {
					got.Store(0)
					for range viewers {
						f := l.follow(fmt.Sprintf("after=%d", l.n))
						feeds = append(feeds, f)
						go func() {
							for _, ok := f.next(); ok; _, ok = f.next() {
								got.Add(1)
							}
						}()
					}
				},
				Run: events, Settle: leave,
			},
		)
		cost := benchtest.Median(all[1].CPU) - benchtest.Median(all[0].CPU)
		for _, turn := range all {
			b.Logf("%s: %s of processor in %s", turn.Name, benchtest.Median(turn.CPU).Round(time.Millisecond), lasts)
		}
		b.ReportMetric(100*cost.Seconds()/lasts.Seconds(), "%core/100viewers")
	}
}
