// Package score reads what a device is asked to run: the PodmanV0 score, from
// the bytes of a desired value to values that can be acted upon.
//
// It is pure. What comes out of Decode needs no second look: names are unique,
// ports and volumes are parsed, defaults are filled in. What is refused is
// refused here, with a reason and a sentence that says what to write instead.
package score

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
)

// TypePodmanV0 is the one type of score that this agent acts upon.
const TypePodmanV0 = "PodmanV0"

// Reasons for which a score is refused.
const (
	// ReasonUnsupportedScore: the score's type is none that this agent knows. A
	// newer agent may know it.
	ReasonUnsupportedScore = "UnsupportedScore"
	// ReasonInvalidScore: the type is known, but what the score says cannot be
	// run by anyone. Only a change of the score helps.
	ReasonInvalidScore = "InvalidScore"
)

// Limits, the same as those of the CRD, so that nothing that passed there is
// refused here for its size alone.
const (
	MaxServices = 20
	// MinInterval is the shortest time between two health checks.
	MinInterval = 100 * time.Millisecond
)

// Defaults of a health check.
const (
	DefaultInterval = 10 * time.Second
	DefaultRetries  = 3
)

// Refusal says why a score cannot be acted upon.
type Refusal struct {
	Reason  string
	Message string
}

func (r *Refusal) Error() string { return r.Message }

func invalid(format string, args ...any) *Refusal {
	return &Refusal{Reason: ReasonInvalidScore, Message: fmt.Sprintf(format, args...)}
}

// RestartPolicy says when a container that ended is started again.
type RestartPolicy string

// The restart policies. Always is the default.
const (
	RestartAlways    RestartPolicy = "Always"
	RestartOnFailure RestartPolicy = "OnFailure"
	RestartNever     RestartPolicy = "Never"
)

// PullPolicy says when an image is pulled.
type PullPolicy string

// The pull policies. PullIfNotPresent is the default; PullAlways pulls each time
// the container is created, not while it runs.
const (
	PullIfNotPresent PullPolicy = "IfNotPresent"
	PullAlways       PullPolicy = "Always"
	PullNever        PullPolicy = "Never"
)

// Network is the network that a container is in.
type Network string

// The networks. NetworkBridge is the default.
const (
	NetworkBridge Network = "bridge"
	NetworkHost   Network = "host"
	NetworkNone   Network = "none"
)

// PodmanV0 is a decoded, valid score.
type PodmanV0 struct {
	Services []Service
}

// Service is one container, with defaults filled in.
type Service struct {
	Name          string
	Image         string
	Ports         []Port
	Command       []string
	Args          []string
	Env           map[string]string
	Volumes       []Volume
	Network       Network
	RestartPolicy RestartPolicy
	Resources     Resources
	HealthCheck   *HealthCheck // nil: a container that runs counts as well
	CapAdd        []string
	CapDrop       []string
	ReadOnly      bool
	User          string
	Labels        map[string]string
	PullPolicy    PullPolicy
	Configs       map[string]string // absolute path to content

	// Hash identifies the service's own part of the score: a container is
	// replaced when it changes, and only then.
	Hash string
	// Raw is the service's part of the score as it was written. DecodeService
	// reads it again.
	Raw json.RawMessage
}

// Resources is the most that a container may use. Zero is no limit.
type Resources struct {
	Memory   int64 // bytes
	MilliCPU int64 // thousandths of a processor
	PIDs     int64
}

// HealthCheck is a check by exactly one of Exec and HTTP.
type HealthCheck struct {
	Exec        []string
	HTTP        *HTTPCheck
	Interval    time.Duration
	Retries     int
	StartPeriod time.Duration
}

// HTTPCheck is a GET of a path on a port of the container.
type HTTPCheck struct {
	Port uint16
	Path string
}

// Decode reads a desired value and checks it. Every error is a *Refusal.
func Decode(raw []byte) (PodmanV0, error) {
	tagged, err := eventlog.DecodeScore(raw)
	if err != nil {
		return PodmanV0{}, invalid("not a score: %v", err)
	}
	if tagged.Type != TypePodmanV0 {
		return PodmanV0{}, &Refusal{
			Reason: ReasonUnsupportedScore,
			Message: fmt.Sprintf("score type %q is not known to this agent, which knows %s: "+
				"upgrade the agent or change spec.score.type", tagged.Type, TypePodmanV0),
		}
	}
	var data struct {
		Services []json.RawMessage `json:"services"`
	}
	if len(tagged.Data) > 0 {
		if err := json.Unmarshal(tagged.Data, &data); err != nil {
			return PodmanV0{}, invalid("score.data: %s", sentence(err))
		}
	}
	if len(data.Services) == 0 {
		return PodmanV0{}, invalid("score.data.services is empty: write at least one service, with a name and an image")
	}
	if len(data.Services) > MaxServices {
		return PodmanV0{}, invalid("score.data.services has %d services, the most is %d: split them over several Deployments",
			len(data.Services), MaxServices)
	}
	var score PodmanV0
	for i, raw := range data.Services {
		s, err := decodeService(i, raw)
		if err != nil {
			return PodmanV0{}, err
		}
		score.Services = append(score.Services, s)
	}
	if err := score.Validate(); err != nil {
		return PodmanV0{}, err
	}
	return score, nil
}

// DecodeService reads one service from its own part of a score, as Service.Raw
// has it, and checks it. Every error is a *Refusal.
func DecodeService(raw []byte) (Service, error) {
	s, err := decodeService(0, raw)
	if err != nil {
		return Service{}, err
	}
	return s, PodmanV0{Services: []Service{s}}.Validate()
}

// decodeService reads the i-th service of a score.
func decodeService(i int, raw json.RawMessage) (Service, error) {
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return Service{}, invalid("%s: %s", w.title(i), sentence(err))
	}
	s, err := w.service()
	if err != nil {
		return Service{}, invalid("%s: %v", w.title(i), err)
	}
	if s.Hash, err = serviceHash(raw); err != nil {
		return Service{}, invalid("%s: %v", w.title(i), err)
	}
	s.Raw = raw
	return s, nil
}

// sentence says what is wrong with a JSON value in words of the score.
func sentence(err error) string {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		return fmt.Sprintf("%s can't be a JSON %s, it must be of the kind %s", t.Field, t.Value, t.Type)
	}
	return err.Error()
}
