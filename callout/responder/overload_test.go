package responder_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

const config = `
authorization {
  timeout: %v
  auth_callout { issuer: %s, %s account: AUTH, auth_users: [callout] }
}
accounts {
  AUTH { users: [ { user: callout, password: c, permissions: {
    subscribe: { allow: ["$SYS.REQ.USER.AUTH"] }, publish: { allow: ["$SYS._INBOX.>"] } } } ] }
  DEVICES { limits: { max_subs: 64 } }
}
`

// site is a server that asks.
type site struct {
	t        testing.TB
	server   *natstest.Server
	keys     responder.Keys
	deadline time.Duration // of its replicas
	check    time.Duration // how soon they must have answered themselves; 0 is the default
}

func pair(t testing.TB, create func() (nkeys.KeyPair, error)) (seed []byte, public string) {
	t.Helper()
	kp, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if seed, err = kp.Seed(); err == nil {
		public, err = kp.PublicKey()
	}
	if err != nil {
		t.Fatal(err)
	}
	return seed, public
}

func newSite(t testing.TB, sealed bool) *site {
	t.Helper()
	return siteWith(t, sealed, 1.8, deadline)
}

// patientSite is one that waits long for an answer, and so do its clients and its replicas,
// which leave no requests to others that are not there: a machine that stands still for
// seconds must not refuse anybody.
func patientSite(t testing.TB) *site {
	t.Helper()
	s := siteWith(t, true, 15, 12*time.Second)
	s.check = 12 * time.Second
	return s
}

func siteWith(t testing.TB, sealed bool, timeout float64, deadline time.Duration) *site {
	t.Helper()
	issuer, issuerKey := pair(t, nkeys.CreateAccount)
	xkey, xkeyKey := pair(t, nkeys.CreateCurveKeys)
	line := ""
	if sealed {
		line = "xkey: " + xkeyKey + ","
	}
	return &site{t: t, server: natstest.Start(t, natstest.Config(t, fmt.Sprintf(config, timeout, issuerKey, line))), keys: responder.Keys{Issuers: [][]byte{issuer}, XKeys: [][]byte{xkey}}, deadline: deadline}
}

// decider lets everybody in who sends a token, which is its name.
type decider struct {
	takes time.Duration
	turn  sync.Mutex // one at a time
	calls atomic.Int64
	spent atomic.Int64
	stuck atomic.Bool
}

func (d *decider) Decide(l responder.Login) (callout.Grant, error) {
	for d.stuck.Load() {
		time.Sleep(time.Millisecond)
	}
	if l.Probe || l.Token == "" {
		return callout.Grant{}, refusal.New(refusal.TokenMissing, "no token")
	}
	if l.Token == "wait" {
		return callout.Grant{}, responder.ErrLater
	}
	if d.takes > 0 {
		d.turn.Lock()
		defer d.turn.Unlock()
		began := time.Now()
		time.Sleep(d.takes)
		d.spent.Add(int64(time.Since(began)))
	}
	d.calls.Add(1)
	return callout.NewGrant(identity.Identity{Kind: identity.Device, ID: l.Token}, nil, time.Now().Add(time.Hour))
}

func (d *decider) Resolve(ctx context.Context, _ responder.Login) (callout.Grant, error) {
	<-ctx.Done()
	return callout.Grant{}, refusal.New(refusal.ProviderUnavailable, "the provider hangs")
}

// run runs a replica until it takes requests.
func (s *site) run(d responder.Decider, change ...func(*responder.Options)) (stop func()) {
	s.t.Helper()
	nc, _ := s.server.Connect(s.t, nats.UserInfo("callout", "c"))
	r := s.runOn(nc, d, change...)
	return r
}

func (s *site) runOn(nc *nats.Conn, d responder.Decider, change ...func(*responder.Options)) (stop func()) {
	s.t.Helper()
	o := responder.Options{Conn: nc, Keys: s.keys, Decider: d, Deadline: s.deadline, CheckTimeout: s.check}
	for _, f := range change {
		f(&o)
	}
	r, err := responder.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx); err != nil {
			s.t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	s.t.Cleanup(stop)
	for deadline := time.Now().Add(time.Minute); !r.Subscribed(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("the replica takes no requests after a minute")
		}
	}
	return stop
}

// dial connects once.
func (s *site) dial(token string) error {
	nc, err := nats.Connect(s.server.URL(), nats.Token(token), nats.Timeout(20*time.Second), nats.NoReconnect(), nats.IgnoreAuthErrorAbort())
	if err != nil {
		return err
	}
	nc.Close()
	return nil
}

// crowd has n clients connect, each as often as it takes, and gives how long the
// slowest took and how many tries the unluckiest needed.
func (s *site) crowd(n int) (slowest time.Duration, tries int) {
	var dialing sync.WaitGroup
	var mu sync.Mutex
	for i := range n {
		dialing.Go(func() {
			began, tried := time.Now(), 1
			for ; s.dial(fmt.Sprintf("pi-%d", i)) != nil; tried++ {
				if time.Since(began) > 2*time.Minute {
					s.t.Error("a client is not in after 2 minutes")
					return
				}
				time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond)) // as clients do
			}
			mu.Lock()
			defer mu.Unlock()
			slowest, tries = max(slowest, time.Since(began)), max(tries, tried)
		})
	}
	dialing.Wait()
	return slowest, tries
}

// A callout that works first in, first out never comes out of this: whom it
// answers has gone. The crowd is 2,000 where the machine can have so many try at
// once, and fewer where the machine is busy: each refused client tries again within
// two seconds, and the server's work for that is not what is tested.
func TestACrowdThatASlowProviderHoldsUpIsInWithinTwiceTheWork(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	stop := s.run(&decider{})
	const trial = 200
	began := time.Now()
	s.crowd(trial)
	perSecond := trial / time.Since(began).Seconds()
	stop()
	n := int(min(max(1.5*perSecond, trial), 2000))

	d := &decider{takes: 5 * time.Millisecond}
	s.run(d, func(o *responder.Options) { o.Workers = 1 })
	began = time.Now()
	s.crowd(n)
	took := time.Since(began)
	// What a decision takes on this machine, and what is done around it.
	each := time.Duration(d.spent.Load()/d.calls.Load()) + time.Second/time.Duration(perSecond)
	work := time.Duration(n) * each
	t.Logf("%d clients were in after %v; the work was %v; %d decisions; the machine does %.0f connects a second",
		n, took.Round(time.Millisecond), work.Round(time.Millisecond), d.calls.Load(), perSecond)
	// Counted in decisions, so that a slow machine fails nothing: first in, first out
	// needed 17 for each client.
	if calls := d.calls.Load(); calls > int64(2*n) {
		t.Errorf("%d decisions for %d clients: more than twice the work", calls, n)
	}
}

func TestASilentReplicaCostsAClientFewTries(t *testing.T) {
	t.Parallel()
	for name, silence := range map[string]func(*site, *decider) func(){
		"it is stuck": func(s *site, d *decider) func() {
			s.run(d)
			return func() { d.stuck.Store(true) }
		},
		"its network is stalled": func(s *site, d *decider) func() {
			p := s.server.Proxy(s.t)
			nc, _ := p.Connect(s.t, nats.UserInfo("callout", "c"))
			s.runOn(nc, d)
			return func() { p.Stall(15 * time.Second) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, true)
			silent := &decider{}
			fall := silence(s, silent)
			s.run(&decider{})
			_, usual := s.crowd(100) // a machine that is busy loses tries without a silent replica
			fall()
			defer silent.stuck.Store(false)
			slowest, tries := s.crowd(100)
			t.Logf("the slowest of 100 clients took %v, the unluckiest %d tries", slowest.Round(time.Millisecond), tries)
			// Without the self-check every other try goes to the silent replica for as long as
			// it is silent: the unluckiest of 100 clients then needs seven and more.
			if tries > usual+4 {
				t.Errorf("a client needed %d tries, and %d before", tries, usual)
			}
		})
	}
}

func TestAReplicaThatRecoversTakesRequestsAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	d := &decider{}
	s.run(d)
	d.stuck.Store(true)
	for deadline := time.Now().Add(time.Minute); s.server.Subscriptions(t, eventlog.AuthRequestSubject) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a replica that does not answer itself takes requests for a minute")
		}
	}
	d.stuck.Store(false)
	if _, tries := s.crowd(1); tries > 5 {
		t.Errorf("a client needed %d tries", tries)
	}
}

func TestReplicasStopOneByOneAndComeBack(t *testing.T) {
	// Not parallel: the crowds of the other tests make the machine too slow for a deadline.
	s := patientSite(t)
	stops := []func(){s.run(&decider{}), s.run(&decider{})}
	nc, err := nats.Connect(s.server.URL(), nats.Token("pi-01"), nats.NoReconnect(), nats.Timeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for i, stop := range stops {
		stop()
		if err := s.dial("pi-02"); (err == nil) != (i == 0) {
			t.Errorf("with %d replicas left: %v", 1-i, err)
		}
	}
	if err := nc.FlushTimeout(30 * time.Second); err != nil {
		t.Errorf("a connected device does not go on without a callout: %v", err)
	}
	s.run(&decider{})
	if err := s.dial("pi-02"); err != nil {
		t.Errorf("with a replica again: %v", err)
	}
}

// A rolling update stops the replica before as soon as the new one takes requests.
func TestTheServerKnowsAReplicaThatTakesRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	for n := range 100 {
		stop := s.run(&decider{})
		if s.server.Subscriptions(t, eventlog.AuthRequestSubject) == 0 {
			t.Fatalf("replica %d takes requests, and the server hands out none to it", n)
		}
		stop()
	}
}

// Clients connect all the while: none may be refused because a replica stops.
func TestAReplicaThatStopsAnswersWhatItHasTaken(t *testing.T) {
	s := patientSite(t) // not parallel, as above
	s.run(&decider{takes: 2 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var dialing sync.WaitGroup
	for range 8 {
		dialing.Go(func() {
			for ctx.Err() == nil {
				if err := s.dial("pi-01"); err != nil {
					t.Errorf("refused while a replica stopped: %v", err)
					return
				}
			}
		})
	}
	for range 10 {
		s.run(&decider{takes: 2 * time.Millisecond})()
	}
	cancel()
	dialing.Wait()
}
