package engine

import (
	"context"
	"time"

	"fleet.nationtech.io/eventlog/score"
)

// Engine runs containers for one device. It shows and touches only those that
// carry that device's id, however many devices share it.
//
// Every error that it returns is an *Error, or the context's.
type Engine interface {
	// Info says what the engine is. It is also how one asks whether it is there.
	Info(ctx context.Context) (Info, error)
	// Observe lists the device's containers, in whatever state they are, and those
	// that only have its labels: they are Foreign, and every other method refuses
	// to touch them.
	Observe(ctx context.Context) ([]Container, error)
	// Pull makes sure that an image is there, as the policy says. It calls progress
	// with lines meant for people; progress may be nil.
	Pull(ctx context.Context, image string, policy score.PullPolicy, progress func(line string)) error
	// Create makes a container without starting it. Free host ports are chosen
	// here and kept for the container's life. If a container of the same device,
	// Deployment, service and hash holds the name already, it is adopted.
	Create(ctx context.Context, spec Spec) (id string, err error)
	// Start makes a container run: one that was created or has ended, or is
	// paused. One that runs already is left alone.
	Start(ctx context.Context, id string) error
	// Stop ends a container: the signal that it asks for, and after StopGrace
	// SIGKILL. One that is not running is left alone.
	Stop(ctx context.Context, id string) error
	// Remove ends a container like Stop, if it runs, and takes it away with all that
	// Create made for it; but volumes stay. One that is not there is no error.
	Remove(ctx context.Context, id string) error
	// Exec runs a command in a running container and waits for it.
	Exec(ctx context.Context, id string, argv []string) (ExecResult, error)
	// Get asks a port of a running container by HTTP and gives the status of the
	// answer.
	Get(ctx context.Context, id string, port uint16, path string) (status int, err error)
	// Events calls notify for what happens to the device's containers, until the
	// context ends or the engine goes away; it always returns an error. Events are
	// hints, to be quick: some may be missed, Observe has the truth.
	Events(ctx context.Context, notify func(Event)) error
}

// StopGrace is the time that a container has to end by itself when told to.
const StopGrace = 10 * time.Second

// Info is what an engine says of itself.
type Info struct {
	Name    string // podman or memory
	Version string
	// Real tells whether containers are processes, or only played.
	Real bool
}

// ExecResult is what a command left behind. Output is at most 4 KiB of both
// streams, as they came.
type ExecResult struct {
	ExitCode int
	Output   string
	// Unstarted says, in the engine's words, why there was no command to run: it is
	// not in the container, or may not be run. Empty is that it ran, with whatever
	// exit code. A shell ends with 127 where what it calls is missing, too.
	Unstarted string
}

// StateAbsent is reported for a service that has no container.
const StateAbsent State = "absent"
