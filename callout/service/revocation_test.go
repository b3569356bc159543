package service_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/eventlog"
)

func (w *world) revoke(subject string) {
	w.append(eventlog.AccessSubject(subject), eventlog.AccessRevoked, eventlog.Access{Reason: "Stolen"})
}

// tooLate is when a connection has ended for another cause than its revocation: connections
// are counted again each minute. It ends within 2 s where the machine does nothing else.
const tooLate = 20 * time.Second

func (w *world) allow(subject string) {
	w.append(eventlog.AccessSubject(subject), eventlog.AccessAllowed, eventlog.Access{Reason: "Found"})
}

func TestARevokedIdentityIsCutOffWithinTwoSecondsAndComesBackOnceItIsAllowed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		subject string
		token   func(*providertest.Provider) *providertest.Draft
	}{
		"a device":  {"pi-01", func(p *providertest.Provider) *providertest.Draft { return p.Device("pi-01") }},
		"a viewer":  {"_person-17", func(p *providertest.Provider) *providertest.Draft { return p.Person("17", "viewer") }},
		"an admin":  {"_person-17", func(p *providertest.Provider) *providertest.Draft { return p.Person("17", "admin") }},
		"a service": {"_service-ci", func(p *providertest.Provider) *providertest.Draft { return p.Person("ci", "service-viewer") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.start()
			token, other := tt.token(w.provider).Token(t), w.provider.Device("other").Token(t)
			closed := make(chan time.Time, 3)
			for range 3 {
				w.connect(token, nats.ClosedHandler(func(*nats.Conn) { closed <- time.Now() }))
			}
			bystander := w.connect(other)
			began := time.Now()
			w.revoke(tt.subject)
			for range 3 {
				select {
				case at := <-closed:
					if took := at.Sub(began); took > tooLate {
						t.Errorf("a connection ended after %v", took)
					}
				case <-time.After(2 * time.Minute):
					t.Fatal("a connection is still open after 2 minutes")
				}
			}
			eventually(t, "it is refused for its revocation", func() bool { // a busy machine drops requests
				w.refused("while it is revoked", token)
				return r.metric(t, "fleet_callout_decisions_total", `"AccessRevoked"`) > 0
			})
			w.allow(tt.subject)
			eventually(t, "it is let in again", func() bool { nc, err := w.dial(token); return err == nil && nc.IsConnected() })
			if !bystander.IsConnected() {
				t.Error("another device was cut off")
			}
		})
	}
}

func TestAReplicaThatStartsLaterKnowsWhoIsRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 1000 {
		w.revoke(fmt.Sprintf("pi-%d", i))
		if i%2 == 0 {
			w.allow(fmt.Sprintf("pi-%d", i))
		}
	}
	r := w.start()
	if n := r.metric(t, "fleet_callout_revoked_identities"); n != 500 {
		t.Errorf("%v identities are revoked, want 500", n)
	}
	w.connect(w.provider.Device("pi-0").Token(t))
	w.refused("revoked before the replica started", w.provider.Device("pi-1").Token(t))
}

// A connect whose decision began before the revocation is in no list of
// connections yet when the others are ended.
func TestAConnectInFlightDoesNotOutliveARevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	token := w.provider.Device("pi-01").Token(t)
	var dialing sync.WaitGroup
	began := make(chan struct{})
	var once sync.Once
	for range 16 {
		dialing.Go(func() {
			for range 12 {
				nc, err := w.dial(token)
				once.Do(func() { close(began) })
				if err == nil {
					defer nc.Close()
				}
			}
		})
	}
	<-began
	w.revoke("pi-01")
	dialing.Wait()
	eventually(t, "no connection of the device is left", func() bool { return w.connections("DEVICES", "device-pi-01") == 0 })
}

func TestAReplicaThatNeverReadTheLogTakesNoRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	r := w.launch()
	r.await(t, "fleet_callout_provider_keys", 1)
	w.refused("without the log", w.provider.Device("pi-01").Token(t))
	if r.metric(t, "fleet_callout_subscribed") != 0 {
		t.Error("the replica takes requests")
	}
}

func TestOneIdentityHasAtMostThreeConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start()
	token := w.provider.Device("pi-01").Token(t)
	var open []*nats.Conn
	for range 6 {
		open = append(open, w.connect(token))
	}
	r.await(t, "fleet_callout_connections_ended_total", 3, `"too many"`)
	eventually(t, "the three newest are left", func() bool {
		n := 0
		for i, nc := range open {
			if nc.IsConnected() != (i >= 3) {
				return false
			}
			n++
		}
		return n == len(open)
	})
}

func TestFourHundredConnectionsWithOneTokenAreTwentyAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.start(), w.start()
	token, other := w.provider.Device("pi-01").Token(t), w.provider.Device("pi-02").Token(t)
	var dialing sync.WaitGroup
	var mu sync.Mutex
	in := 0
	began := time.Now()
	slots := make(chan struct{}, 32) // more at once, and a busy machine answers none in time
	for range 400 {
		dialing.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if nc, err := w.dial(token); err == nil {
				mu.Lock()
				in++
				mu.Unlock()
				defer nc.Close()
			}
		})
	}
	dialing.Wait()
	// Each of two replicas counts on its own until servers tell it of the other's.
	if most := 40 * (1 + int(time.Since(began)/time.Minute)); in == 0 || in > most {
		t.Errorf("%d of 400 were let in, want 20 a minute, at most %d", in, most)
	}
	w.connect(other)
	refused := first.metric(t, "fleet_callout_decisions_total", `"TooManyConnects"`) + second.metric(t, "fleet_callout_decisions_total", `"TooManyConnects"`)
	if refused == 0 {
		t.Error("nobody was refused for connecting too often")
	}
	t.Logf("%d of 400 were let in, %v refused for their number", in, refused)
}
