//go:build e2ecluster

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/e2e/systemdtest"
)

// steady is what must stay as it is on devices and in the log while the server side changes.
type steady struct {
	p          *person
	devices    []*systemdtest.Device
	containers map[string]string
	events     []string
	began      time.Time
	turns      int
}

func (s *steady) step(what string) { s.p.f.t.Logf("%6.1f s: %s", time.Since(s.began).Seconds(), what) }

// remember takes what devices run and what the log has for what must stay.
func (s *steady) remember() {
	s.p.f.t.Helper()
	s.containers, s.events = containers(s.p.f.t, s.devices...), s.p.events()
}

// goesOn has an operator append an event, which the log must show: an operator that stands
// still is found out at once.
func (s *steady) goesOn() {
	t, f := s.p.f.t, s.p.f
	t.Helper()
	s.turns++
	device, turn := s.devices[s.turns%len(s.devices)].Name, fmt.Sprintf("turn=%d", s.turns)
	if _, err := f.node.Kubectl(t.Context(), nil, "label", "--overwrite", "devices.fleet.nationtech.io", device, turn); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log has the label of turn "+turn, func(context.Context) error {
		out, err := s.p.fleetctl("get", "devices", "-l", turn, "-o", "name")
		if err == nil && !strings.Contains(out, device) {
			err = errors.New("it has not")
		}
		return err
	})
}

// sameContainers fails the test where after something a device runs another container.
func (s *steady) sameContainers(what string) {
	t := s.p.f.t
	t.Helper()
	if diff := cmp.Diff(s.containers, containers(t, s.devices...)); diff != "" {
		t.Errorf("once %s devices run other containers (-before +after):\n%s", what, diff)
	}
}

// untouched fails the test where after something a device runs another container, or the
// log lacks what it had.
func (s *steady) untouched(what string) {
	t := s.p.f.t
	t.Helper()
	s.sameContainers(what)
	s.goesOn()
	after := s.p.events()
	if len(after) < len(s.events) || !cmp.Equal(s.events, after[:len(s.events)]) {
		t.Errorf("once %s the log lost events (-before +after):\n%s", what, cmp.Diff(s.events, after))
	}
	s.events = after
	s.p.agrees()
	s.step(what)
}
