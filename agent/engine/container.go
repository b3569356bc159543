// Package engine is the vocabulary in which the agent speaks of containers: what
// one is asked to be, what one was seen to be, what an Engine does with it, and in
// what ways it can say no. The engines are in engine/podman and engine/memory;
// the suite in engine/enginetest holds both to what is written here.
package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog/score"
)

// State is the state of a container, in Podman's words.
type State string

// Every state that Podman reports. What it may report beyond them counts as
// StateUnknown.
const (
	StateCreated     State = "created"
	StateConfigured  State = "configured"
	StateInitialized State = "initialized"
	StateRunning     State = "running"
	StatePaused      State = "paused"
	StateStopping    State = "stopping"
	StateStopped     State = "stopped"
	StateExited      State = "exited"
	StateRemoving    State = "removing"
	StateUnknown     State = "unknown"
)

// States lists every state.
func States() []State {
	return []State{
		StateCreated, StateConfigured, StateInitialized, StateRunning, StatePaused,
		StateStopping, StateStopped, StateExited, StateRemoving, StateUnknown,
	}
}

// ParseState reads a state as an engine writes it.
func ParseState(s string) State {
	for _, known := range States() {
		if strings.EqualFold(s, string(known)) {
			return known
		}
	}
	return StateUnknown
}

// Ended says whether the container's process ran and is over.
func (s State) Ended() bool { return s == StateExited || s == StateStopped }

// Unstarted says whether the container was made and its process never ran since.
func (s State) Unstarted() bool {
	return s == StateCreated || s == StateConfigured || s == StateInitialized
}

// Identity says whose container one is. Several devices may share one engine,
// so nothing is ever done to a container whose Device is another.
type Identity struct {
	Device     string
	Deployment string
	Service    string
}

func (i Identity) String() string { return i.Device + "/" + i.Deployment + "/" + i.Service }

// Name is the container's name. It can be told from the identity alone; where
// dashes would let two identities share one, a piece of a hash keeps them apart.
func (i Identity) Name() string {
	name := i.Device + "-" + i.Deployment + "-" + i.Service
	if strings.Contains(i.Deployment, "-") || strings.Contains(i.Service, "-") {
		name += "-" + i.digest()
	}
	return name
}

// VolumeName is the engine's name of a volume that the score calls name. It is
// the device's and the Deployment's own, so that devices which share an engine
// don't share data, while a service's replacement finds what it left.
func (i Identity) VolumeName(name string) string {
	of := Identity{Device: i.Device, Deployment: i.Deployment, Service: name}
	return i.Device + "-" + i.Deployment + "-" + name + "-" + of.digest()
}

func (i Identity) digest() string {
	sum := sha256.Sum256([]byte(i.String()))
	return hex.EncodeToString(sum[:3])
}

// Labels of the fleet's containers. The engine keeps them, so they outlive the
// agent and its store. They say what a container is of, and do not prove whose it
// is: a container has its image's labels too, and an image made from a container
// (podman commit) has the container's. See Container.Foreign.
const (
	LabelDevice     = "io.nationtech.fleet.device"
	LabelDeployment = "io.nationtech.fleet.deployment"
	LabelService    = "io.nationtech.fleet.service"
	LabelHash       = "io.nationtech.fleet.hash"     // of the service's part of the score
	LabelRevision   = "io.nationtech.fleet.revision" // of the Deployment, when the container was made
)

// Variables that each container gets, unless the score sets them.
const (
	EnvDevice     = "FLEET_DEVICE"
	EnvDeployment = "FLEET_DEPLOYMENT"
	EnvService    = "FLEET_SERVICE"
)

// Spec is a container that is to be made.
type Spec struct {
	Identity
	Revision uint64
	Service  score.Service
}

// Labels are the container's labels: the score's and the fleet's.
func (s Spec) Labels() map[string]string {
	labels := make(map[string]string, len(s.Service.Labels)+5)
	for k, v := range s.Service.Labels {
		labels[k] = v
	}
	labels[LabelDevice] = s.Device
	labels[LabelDeployment] = s.Deployment
	labels[LabelService] = s.Identity.Service
	labels[LabelHash] = s.Service.Hash
	labels[LabelRevision] = strconv.FormatUint(s.Revision, 10)
	return labels
}

// Env is the container's environment: the score's, and who it belongs to.
func (s Spec) Env() map[string]string {
	env := map[string]string{
		EnvDevice: s.Device, EnvDeployment: s.Deployment, EnvService: s.Identity.Service,
	}
	for k, v := range s.Service.Env {
		env[k] = v
	}
	return env
}

// Container is one container as it was seen.
type Container struct {
	Identity
	ID          string
	Name        string
	Hash        string // LabelHash
	Revision    uint64 // LabelRevision
	State       State
	ExitCode    int  // of the last run
	OOMKilled   bool // the last run ended because it used more memory than it may
	CreatedAt   time.Time
	StartedAt   time.Time // of the last run; zero where it never ran
	FinishedAt  time.Time // of the last run; zero while it runs
	ImageDigest string
	Ports       []string // "<host>:<container>", "/udp" after it where it is UDP
	// Foreign says why the container is not the fleet's although it has the fleet's
	// labels; empty is the fleet's own. Nothing is ever done to a foreign one.
	Foreign string
}

// FromLabels reads identity, hash and revision from a container's labels.
func FromLabels(labels map[string]string) Container {
	c := Container{
		Identity: Identity{
			Device: labels[LabelDevice], Deployment: labels[LabelDeployment], Service: labels[LabelService],
		},
		Hash: labels[LabelHash],
	}
	if n, err := strconv.ParseUint(labels[LabelRevision], 10, 64); err == nil {
		c.Revision = n // a number that cannot be read is revision 0: never reported
	}
	return c
}

// PortText is a published port as reports write it.
func PortText(host, container uint16, protocol string) string {
	text := fmt.Sprintf("%d:%d", host, container)
	if protocol == "udp" {
		text += "/udp"
	}
	return text
}

// Event says that something happened to a container: it is time to look. It
// carries nothing that anyone should decide by, since events come late, get lost
// and are not repeated.
type Event struct {
	ContainerID string
	Action      string
}
