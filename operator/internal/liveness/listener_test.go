package liveness_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/projections/fleet"
)

// told notes what it is told.
type told struct{ said []string }

func (l *told) Heard(device string, payload []byte, _ time.Time) {
	l.said = append(l.said, fmt.Sprintf("%s says %s", device, payload))
}
func (l *told) Forget(device string) { l.said = append(l.said, device+" is forgotten") }

func TestAListenerIsToldWhatKnownDevicesSay(t *testing.T) {
	t.Parallel()
	l := &told{}
	synctest.Test(t, func(t *testing.T) {
		e := &source{ready: make(chan struct{})}
		m := liveness.NewMonitor(e, interval, func([]string) {}, l)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		<-e.ready
		e.say("pi-01", []byte("nobody knows me"))
		m.Know("pi-01", fleet.Presence{})
		e.say("pi-01", []byte("now they do"))
		m.Leave("pi-01")
		e.say("pi-01", []byte("I left"))
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	want := []string{"pi-01 says now they do", "pi-01 is forgotten"}
	if diff := cmp.Diff(want, l.said); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
