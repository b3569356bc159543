package service_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/baretest"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/benchtest"
)

// reconnecting is how many devices come back at once. Both ends of each connection are
// sockets of this process, which may not have more than 10,000 everywhere.
const reconnecting = 4_000

// BenchmarkReconnect prints how long it takes until the last of 4,000 devices is in that
// connect at once, each as often as it needs: by tokens, beside one user with a
// password, and beside a callout that looks at nothing. FLEET_BENCH_DEVICES gives
// another number.
func BenchmarkReconnect(b *testing.B) {
	n := reconnecting
	if s := os.Getenv("FLEET_BENCH_DEVICES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	w := newWorld(b)
	r := w.start()
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = w.provider.Device(fmt.Sprintf("pi-%05d", i)).Token(b)
	}
	plain := newWorld(b)
	plain.serveBare()
	var tries [3]atomic.Int64
	conns := make([]*nats.Conn, n)
	crowd := func(w *world, side int, credentials func(i int) nats.Option) benchtest.Turn {
		return benchtest.Turn{
			Run: func() {
				var dialing sync.WaitGroup
				for i := range n {
					dialing.Go(func() {
						for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
							tries[side].Add(1)
							nc, err := nats.Connect(w.server.URL(), credentials(i), nats.Timeout(5*time.Second), nats.NoReconnect(),
								nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
							if err == nil {
								conns[i] = nc
								return
							}
							time.Sleep(rand.N(wait)) // full jitter, as devices have
						}
					})
				}
				dialing.Wait()
			},
			Settle: func() {
				for _, nc := range conns {
					nc.Close()
				}
				eventually(b, "all have gone", func() bool { return w.server.Clients() < 10 })
			},
		}
	}
	for b.Loop() {
		const rounds = 3
		s := benchtest.Alternate(b, rounds,
			crowd(w, 0, func(i int) nats.Option { return nats.Token(tokens[i]) }),
			crowd(w, 1, func(int) nats.Option { return nats.UserInfo("lab", "l") }),
			crowd(plain, 2, func(i int) nats.Option { return nats.Token(tokens[i]) }),
		)
		fmt.Printf("%d devices come back at once: by tokens the last is in after %v, with a password after %v; ratio %s (goal 3.00)\n", n,
			benchtest.Median(s[0].Wall).Round(time.Millisecond), benchtest.Median(s[1].Wall).Round(time.Millisecond), benchtest.Spread(benchtest.Ratios(s[0].Wall, s[1].Wall)))
		fmt.Printf("a callout that looks at nothing: %v; of a password's time %s; ours of its time %s\n",
			benchtest.Median(s[2].Wall).Round(time.Millisecond), benchtest.Spread(benchtest.Ratios(s[2].Wall, s[1].Wall)), benchtest.Spread(benchtest.Ratios(s[0].Wall, s[2].Wall)))
		each := func(side int) float64 { return float64(tries[side].Load()) / float64(n*(rounds+1)) }
		fmt.Printf("tries: %.2f a device by token, %.2f with a password, %.2f by the bare callout; ours dropped %.0f requests\n",
			each(0), each(1), each(2), r.metric(b, "fleet_callout_requests_dropped_total"))
	}
}

// serveBare has a callout that looks at nothing decide for the world's server.
func (w *world) serveBare() {
	w.t.Helper()
	grant, err := callout.NewGrant(identity.Identity{Kind: identity.Device, ID: "pi-00000"}, nil, time.Now().Add(time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	c := &baretest.Callout{Grant: grant}
	if c.Issuer, err = nkeys.FromSeed(w.issuer); err != nil {
		w.t.Fatal(err)
	}
	if c.XKey, err = nkeys.FromCurveSeed(w.xkey); err != nil {
		w.t.Fatal(err)
	}
	nc, _ := w.server.Connect(w.t, nats.UserInfo("callout", "c"))
	if err := c.Serve(nc, func(err error) { w.t.Error(err) }); err != nil {
		w.t.Fatal(err)
	}
}

// BenchmarkBesideBadTokens prints what 1,000 devices that report feel of clients that
// come with bad tokens without pause: the same reports without them and with them.
func BenchmarkBesideBadTokens(b *testing.B) {
	const devices, reports, hostile = 1000, 2000, 20
	w := newWorld(b)
	r := w.start()
	conns := make([]*nats.Conn, devices)
	for i := range conns {
		id := fmt.Sprintf("pi-%05d", i)
		conns[i] = w.connect(w.provider.Device(id).Token(b), nats.CustomInboxPrefix(eventlog.InboxPrefix(id)))
	}
	forged := make([]string, 50) // a signature of no key of the provider, each another one
	for i := range forged {
		good := w.provider.Device(fmt.Sprintf("bad-%d", i)).Token(b)
		forged[i] = good[:len(good)-20] + "AAAAAAAAAAAAAAAAAAA" + good[len(good)-1:]
	}
	latencies := map[string][]time.Duration{}
	turn := func(name string, attackers int) benchtest.Turn {
		var stop func()
		var refused atomic.Int64
		return benchtest.Turn{
			Name: name,
			Prepare: func(int) {
				over := make(chan struct{})
				var attack sync.WaitGroup
				for i := range attackers {
					attack.Go(func() {
						for n := i; ; n++ {
							select {
							case <-over:
								return
							default:
							}
							if nc, err := w.dial(forged[n%len(forged)]); err == nil {
								nc.Close()
								b.Error("a forged token was let in")
							}
							refused.Add(1)
						}
					})
				}
				stop = func() { close(over); attack.Wait() }
			},
			Run: func() {
				took := make([]time.Duration, reports)
				var working sync.WaitGroup
				for worker := range 10 {
					working.Go(func() {
						for i := worker; i < reports; i += 10 {
							nc := conns[i%devices]
							m := nats.NewMsg(eventlog.StateSubject(fmt.Sprintf("pi-%05d", i%devices), "web"))
							m.Header.Set(eventlog.HeaderID, nats.NewInbox())
							m.Data = []byte(`{}`)
							began := time.Now()
							if _, err := nc.RequestMsg(m, 10*time.Second); err != nil {
								b.Errorf("report %d: %v", i, err)
							}
							took[i] = time.Since(began)
						}
					})
				}
				working.Wait()
				latencies[name] = append(latencies[name], took...)
			},
			Settle: func() { stop() },
		}
	}
	for b.Loop() {
		s := benchtest.Alternate(b, 3, turn("with", hostile), turn("without", 0))
		at := func(name string, q float64) time.Duration {
			sorted := slices.Sorted(slices.Values(latencies[name]))
			return sorted[int(q*float64(len(sorted)-1))].Round(10 * time.Microsecond)
		}
		fmt.Printf("%d reports of %d devices beside %d clients that try forged tokens without pause: %s of the time without them\n",
			reports, devices, hostile, benchtest.Spread(benchtest.Ratios(s[0].Wall, s[1].Wall)))
		fmt.Printf("a report takes %v (99 of 100 within %v) beside them, and %v (%v) without; %.0f logins were refused\n",
			at("with", 0.5), at("with", 0.99), at("without", 0.5), at("without", 0.99), r.metric(b, "fleet_callout_decisions_total", "BadSignature"))
	}
}
