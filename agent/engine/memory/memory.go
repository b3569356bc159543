// Package memory plays an engine without containers, for machines that have no
// Podman and for tests. Any image "runs" in it, except those of the host
// fault.test, which fail as their names say. What it plays is kept in a file, so
// that containers run on, with their ids, while the agent is away.
package memory

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog/score"
)

// Images that fail on purpose, with any tag.
const (
	FaultPullError = "fault.test/pull-error" // can't be pulled
	FaultCrash     = "fault.test/crash"      // exits with 1 a second after each start
	FaultUnhealthy = "fault.test/unhealthy"  // runs, and fails each health check
	FaultSlow      = "fault.test/slow"       // takes SlowPull to pull
)

const (
	// SlowPull is how long FaultSlow takes to pull.
	SlowPull   = 5 * time.Second
	crashAfter = time.Second
	// firstPort is where free host ports are looked for. Nothing listens there.
	firstPort = 40000
	killed    = 137 // 128 + SIGKILL
	ended     = 143 // 128 + SIGTERM
)

// Options of an engine.
type Options struct {
	// Device is the id of the device whose containers these are. Required.
	Device string
	// StateFile keeps the containers; empty keeps them in memory alone.
	StateFile string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Memory is an engine that only plays.
type Memory struct {
	options Options

	mu         sync.Mutex
	loaded     bool
	containers map[string]*container
	watchers   map[int]chan engine.Event
	watched    int
}

var _ engine.Engine = (*Memory)(nil)

type container struct {
	Observed engine.Container `json:"container"`
	Image    string           `json:"image"`
	Bound    []bound          `json:"bound,omitempty"`
}

// bound is a host port that a container takes while it runs.
type bound struct {
	Host     uint16 `json:"host"`
	Protocol string `json:"protocol"`
}

// New validates; the state file is read at first use.
func New(o Options) (*Memory, error) {
	if o.Device == "" {
		return nil, errors.New("memory engine: a device id is needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Memory{options: o, watchers: map[int]chan engine.Event{}}, nil
}

// Info says that nothing here is real.
func (m *Memory) Info(ctx context.Context) (engine.Info, error) {
	return engine.Info{Name: "memory", Version: "1"}, ctx.Err()
}

// Observe lists the containers, with what came of them by now.
func (m *Memory) Observe(context.Context) ([]engine.Container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.advance(); err != nil {
		return nil, err
	}
	var cs []engine.Container
	for _, id := range slices.Sorted(maps.Keys(m.containers)) {
		c := m.containers[id].Observed
		c.Ports = slices.Clone(c.Ports)
		cs = append(cs, c)
	}
	return cs, nil
}

// Pull succeeds at once, but for the images of fault.test.
func (m *Memory) Pull(ctx context.Context, image string, _ score.PullPolicy, progress func(string)) error {
	switch name(image) {
	case FaultPullError:
		return &engine.Error{
			Class: engine.ClassRetry, Reason: engine.ReasonImagePullFailed,
			Err: fmt.Errorf("%s: this image of the reserved host fault.test can't be pulled, on purpose", image),
		}
	case FaultSlow:
		if progress != nil {
			progress("pulling slowly, on purpose")
		}
		select {
		case <-time.After(SlowPull):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// Create makes a container.
func (m *Memory) Create(_ context.Context, spec engine.Spec) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.advance(); err != nil {
		return "", err
	}
	if spec.Device != m.options.Device {
		return "", &engine.Error{Class: engine.ClassChange, Reason: engine.ReasonCreateFailed, Err: fmt.Errorf("this engine is of device %q, not of %q", m.options.Device, spec.Device)}
	}
	for id, c := range m.containers {
		if c.Observed.Identity != spec.Identity {
			continue
		}
		if c.Observed.Hash == spec.Service.Hash {
			return id, nil
		}
		return "", &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonNameTaken, Err: fmt.Errorf("create %s: that name is already in use by %s", spec.Name(), id)}
	}
	c := &container{Image: spec.Service.Image, Observed: engine.Container{
		Identity: spec.Identity, ID: newID(), Name: spec.Name(), Hash: spec.Service.Hash, Revision: spec.Revision,
		State: engine.StateCreated, CreatedAt: m.options.Now(), ImageDigest: digest(spec.Service.Image),
	}}
	if spec.Service.Network == score.NetworkBridge || spec.Service.Network == "" {
		var named []bound
		for _, p := range spec.Service.Ports {
			named = append(named, bound{p.Host, p.Protocol})
		}
		for _, p := range spec.Service.Ports {
			if p.Host == 0 {
				p.Host = m.freePort(slices.Concat(named, c.Bound))
			}
			c.Bound = append(c.Bound, bound{p.Host, p.Protocol})
			c.Observed.Ports = append(c.Observed.Ports, engine.PortText(p.Host, p.Container, p.Protocol))
		}
	}
	m.containers[c.Observed.ID] = c
	return c.Observed.ID, m.changed(c, "create")
}

// Start makes a container run.
func (m *Memory) Start(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.find(id)
	if err != nil {
		return err
	}
	switch c.Observed.State {
	case engine.StateRunning:
		return nil
	case engine.StatePaused:
		c.Observed.State = engine.StateRunning
		return m.changed(c, "unpause")
	}
	for _, other := range m.containers {
		if other == c || other.Observed.State != engine.StateRunning {
			continue
		}
		for _, b := range c.Bound {
			if slices.Contains(other.Bound, b) {
				return &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonPortInUse, Err: fmt.Errorf("host port %d: address already in use", b.Host)}
			}
		}
	}
	c.Observed.State, c.Observed.ExitCode, c.Observed.OOMKilled = engine.StateRunning, 0, false
	c.Observed.StartedAt, c.Observed.FinishedAt = m.options.Now(), time.Time{}
	return m.changed(c, "start")
}

// Stop ends a container's run.
func (m *Memory) Stop(_ context.Context, id string) error { return m.end(id, ended) }

// Kill ends a container's run as a person does with SIGKILL.
func (m *Memory) Kill(id string) error { return m.end(id, killed) }

func (m *Memory) end(id string, code int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.find(id)
	if err != nil {
		return err
	}
	if c.Observed.State != engine.StateRunning && c.Observed.State != engine.StatePaused {
		return nil
	}
	c.Observed.State, c.Observed.ExitCode, c.Observed.FinishedAt = engine.StateExited, code, m.options.Now()
	return m.changed(c, "died")
}

// Pause pauses a running container, as a person does.
func (m *Memory) Pause(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.find(id)
	if err != nil {
		return err
	}
	if c.Observed.State == engine.StateRunning {
		c.Observed.State = engine.StatePaused
	}
	return m.changed(c, "pause")
}

// Remove takes a container away.
func (m *Memory) Remove(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.advance(); err != nil {
		return err
	}
	c, found := m.containers[id]
	if !found {
		return nil
	}
	delete(m.containers, id)
	return m.changed(c, "remove")
}

// Exec answers as a healthy container's check does, but for FaultUnhealthy.
func (m *Memory) Exec(_ context.Context, id string, argv []string) (engine.ExecResult, error) {
	c, err := m.running(id)
	if err != nil {
		return engine.ExecResult{}, err
	}
	if name(c.Image) == FaultUnhealthy {
		return engine.ExecResult{ExitCode: 1, Output: "unhealthy, on purpose"}, nil
	}
	return engine.ExecResult{Output: strings.Join(argv, " ") + ": played, not run\n"}, nil
}

// Get answers 200, or 503 for FaultUnhealthy.
func (m *Memory) Get(_ context.Context, id string, _ uint16, _ string) (int, error) {
	c, err := m.running(id)
	if err != nil {
		return 0, err
	}
	if name(c.Image) == FaultUnhealthy {
		return 503, nil
	}
	return 200, nil
}

func (m *Memory) running(id string) (container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.find(id)
	if err != nil {
		return container{}, err
	}
	if c.Observed.State != engine.StateRunning {
		return container{}, &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonExecFailed, Err: fmt.Errorf("container %s is %s, not running", id, c.Observed.State)}
	}
	return *c, nil
}

// find gives a container as it is by now.
func (m *Memory) find(id string) (*container, error) {
	if err := m.advance(); err != nil {
		return nil, err
	}
	c, found := m.containers[id]
	if !found {
		return nil, &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonContainerGone, Err: fmt.Errorf("no such container: %s", id)}
	}
	return c, nil
}

// freePort gives a host port that no container here has.
func (m *Memory) freePort(own []bound) uint16 {
	taken := map[uint16]bool{}
	for _, b := range own {
		taken[b.Host] = true
	}
	for _, c := range m.containers {
		for _, b := range c.Bound {
			taken[b.Host] = true
		}
	}
	port := uint16(firstPort)
	for taken[port] {
		port++
	}
	return port
}

// name is an image's reference without tag and digest.
func name(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image
}

func digest(image string) string {
	sum := sha256.Sum256([]byte(image))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	return hex.EncodeToString(b[:])
}
