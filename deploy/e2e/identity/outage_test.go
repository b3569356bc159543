package identity_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/eventlog/pause"
)

// tokenLife leaves a loaded machine time for a rollover.
const tokenLife = 20 * time.Second

// agents are whole agents that came in by their keys.
type agents struct {
	world    *world
	ids      []string
	registry map[string]*prometheus.Registry
}

func (w *world) agents(n int) *agents {
	w.t.Helper()
	a := &agents{world: w, registry: map[string]*prometheus.Registry{}}
	for i := range n {
		a.enrol(fmt.Sprintf("pi-%02d", i+1))
	}
	a.answer("all devices answer")
	return a
}

func (a *agents) enrol(id string) {
	a.world.t.Helper()
	a.ids = append(a.ids, id)
	a.registry[id] = a.world.enrol(id, devprovider.JWT)
}

func (a *agents) answer(what string) {
	a.world.t.Helper()
	for _, id := range a.ids {
		a.world.await(what+": "+id, func() bool { return a.world.ping(id, time.Second) })
	}
}

// rolled waits until each device has gone over to another token, and pings them all
// the while. It gives how many pings were lost.
func (a *agents) rolled() (lost int) {
	a.world.t.Helper()
	for _, id := range a.ids {
		before := rollovers(a.world.t, a.registry[id])
		a.world.await("a rollover of "+id, func() bool {
			if !a.world.ping(id, 20*time.Second) {
				lost++
			}
			return rollovers(a.world.t, a.registry[id]) > before
		})
	}
	return lost
}

// The provider changes the key that signs its tokens while devices come, go over to
// new tokens, and lose their connections.
func TestTheProvidersKeysRotateUnderAgents(t *testing.T) {
	t.Parallel()
	for name, overlap := range map[string]bool{"the old key stays published": true, "the old key is gone at once": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, tokenLife)
			a := w.agents(3)
			w.must(w.provider.RotateKey("RS256", overlap))
			a.enrol("late")
			a.answer("a device whose token the new key signed is let in")
			if lost := a.rolled(); lost > 0 {
				t.Errorf("%d pings were lost", lost)
			}
			w.must(w.provider.RotateKey("RS256", overlap))
			w.server.Restart() // the devices show tokens of the key before
			a.answer("all come back after the server went away")
		})
	}
}

// Neither the provider nor the replicas of the callout are needed by devices that are
// connected, for as long as their tokens hold.
func TestAgentsStayWhileProviderAndCalloutsAreAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tokenLife)
	first, second := w.callout(), w.callout()
	a := w.agents(3)

	w.provider.SetFault(&devprovider.Fault{Hang: true})
	const outage = 15 * time.Second
	unanswered := 0 // of devices whose token ended
	for began := time.Now(); time.Since(began) < outage; {
		pause.For(t.Context(), 100*time.Millisecond)
		for _, id := range a.ids {
			if !w.ping(id, 100*time.Millisecond) {
				unanswered++
			}
		}
	}
	w.provider.SetFault(nil)
	a.answer("all devices answer after the provider's outage")
	a.rolled()
	if lost := a.rolled(); lost > 0 {
		t.Errorf("%d pings were lost long after the outage", lost)
	}
	t.Logf("%d pings found no device while the provider was away", unanswered)

	first()
	a.enrol("with-one-replica")
	a.answer("one replica is enough")
	second()
	for _, id := range a.ids {
		if !w.ping(id, 20*time.Second) {
			t.Errorf("%s does not go on without a callout", id)
		}
	}
	late := len(a.ids)
	a.enrol("without-a-replica")
	if w.ping(a.ids[late], time.Second) {
		t.Error("a device came in without a callout")
	}
	w.callout()
	a.answer("all devices, and the one that waited, answer once a replica is back")
}
