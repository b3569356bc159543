package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/eventlog"
)

// busy is an engine that does not answer before a moment, and in some spans after.
type busy struct {
	engine.Engine
	since time.Time
	spans [][2]time.Duration

	mu    sync.Mutex
	asked []time.Duration
}

// askedAt gives the moments at which the engine was asked.
func (b *busy) askedAt() []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

func (b *busy) Info(context.Context) (engine.Info, error) {
	at := time.Since(b.since)
	b.mu.Lock()
	b.asked = append(b.asked, at)
	b.mu.Unlock()
	for _, s := range b.spans {
		if at >= s[0] && at < s[1] {
			return engine.Info{}, errors.New("the engine is busy")
		}
	}
	return engine.Info{Name: "podman", Version: "4.3.1"}, nil
}

// told keeps what was reported.
type told struct {
	mu    sync.Mutex
	infos []eventlog.DeviceInfo
}

func (t *told) Info(i eventlog.DeviceInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.infos = append(t.infos, i)
}

func (t *told) all() []eventlog.DeviceInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.infos)
}

// What could not be found out is asked for again after 1 s, 2 s, 4 s, … 30 s, and
// told once it is known; what was known stays told while it cannot be found out.
func TestWhatCouldNotBeFoundOutIsAskedForAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &busy{since: time.Now(), spans: [][2]time.Duration{{0, 6 * time.Second}, {5 * time.Minute, 20 * time.Minute}}}
		c := config.Default()
		c.DeviceID, c.NATS = "pi-01", config.NATS{URL: "tls://nats.example.org:4222"}
		a, err := New(c, Options{Engine: e})
		if err != nil {
			t.Fatal(err)
		}
		var told told
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.tellInventory(ctx, &identity.Shared{}, &told) }()
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}; !slices.Equal(e.askedAt(), want) {
			t.Errorf("asked at %v, want %v", e.askedAt(), want)
		}
		reports := told.all()
		if len(reports) != 2 || reports[0].Inventory.PodmanVersion != "" || reports[1].Inventory.PodmanVersion != "4.3.1" {
			t.Fatalf("told %+v, want first without Podman's version, then with it", reports)
		}
		before := len(e.askedAt())
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if reports := told.all(); len(reports) != 2 {
			t.Errorf("told %+v beyond what was known", reports[2:])
		}
		if asked := len(e.askedAt()) - before; asked < 30 || asked > 50 {
			t.Errorf("asked %d times in half an hour, half of which the engine is busy", asked)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
