// Package score reads what a device is asked to run: the PodmanV0 score, from
// the bytes of a desired value to values that can be acted upon.
//
// It is pure. What comes out of Decode needs no second look: names are unique,
// ports and volumes are parsed, defaults are filled in. What is refused is
// refused here, with a reason and a sentence that says what to write instead.
//
// Both the operator, before it assigns a score, and the agent read by it. The
// CRD says the same at kubectl apply; a test in deploy/lint holds the two lists
// against each other. The operator reads what an author wrote, in which places are
// filled in for each device (CheckAuthored); an agent reads what comes of that, in
// which $(device. means nothing any more (Decode).
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

// MinInterval is the shortest time between two health checks.
const MinInterval = 100 * time.Millisecond

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

// Decode reads a desired value, as a device gets it, and checks it. Every error is a
// *Refusal.
func Decode(raw []byte) (PodmanV0, error) {
	data, err := podmanData(raw)
	if err != nil {
		return PodmanV0{}, err
	}
	return decode(data)
}

// CheckAuthored says what is wrong with a score as its author wrote it: there can be
// places in it that are filled in for each device. Every error is a *Refusal.
func CheckAuthored(raw []byte) error {
	data, err := podmanData(raw)
	if err != nil {
		return err
	}
	_, _, err = check(data, authored)
	return err
}

// form is whose text a score is.
type form int8

const (
	filledIn form = iota // a device's
	authored             // an author's, with places that are filled in
)

func podmanData(raw []byte) (json.RawMessage, error) {
	tagged, err := eventlog.DecodeScore(raw)
	if err != nil {
		return nil, invalid("not a score: %v", err)
	}
	if tagged.Type != TypePodmanV0 {
		return nil, &Refusal{
			Reason: ReasonUnsupportedScore,
			Message: fmt.Sprintf("score type %q is not known to this agent, which knows %s: "+
				"upgrade the agent or change spec.score.type", tagged.Type, TypePodmanV0),
		}
	}
	return tagged.Data, nil
}

// DecodeService reads one service from its own part of a score, as Service.Raw
// has it, and checks it. Every error is a *Refusal.
func DecodeService(raw []byte) (Service, error) {
	data, err := json.Marshal(map[string]any{"services": []json.RawMessage{raw}})
	if err != nil {
		return Service{}, invalid("service: %v", err)
	}
	one, err := decode(data)
	if err != nil {
		return Service{}, err
	}
	s := one.Services[0]
	s.Raw = raw
	return s, nil
}

// decode reads a score's data and checks it. Every error is a *Refusal.
func decode(raw json.RawMessage) (PodmanV0, error) {
	data, parts, err := check(raw, filledIn)
	if err != nil {
		return PodmanV0{}, err
	}
	var score PodmanV0
	for i, w := range data.Services {
		s, err := w.service()
		if err != nil {
			return PodmanV0{}, invalid("service %s: %v", w.title(), err)
		}
		if s.Hash, err = serviceHash(parts[i]); err != nil {
			return PodmanV0{}, invalid("service %s: %v", w.title(), err)
		}
		s.Raw = parts[i]
		score.Services = append(score.Services, s)
	}
	return score, nil
}

// check reads a score's services and the JSON of each. Every error is a *Refusal.
func check(raw json.RawMessage, f form) (wireData, []json.RawMessage, error) {
	data, parts, err := read(raw, f)
	if err != nil {
		return data, nil, invalid("%v", err)
	}
	if p := problems(data.Services, rules(f), 1); len(p) > 0 {
		return data, nil, invalid("%s", p[0])
	}
	return data, parts, nil
}

// Problems are all the sentences for which a PodmanV0 score is refused as its author
// wrote it; of a score of another type there are none.
func Problems(raw []byte) []string {
	tagged, err := eventlog.DecodeScore(raw)
	if err != nil {
		return []string{err.Error()}
	}
	if tagged.Type != TypePodmanV0 {
		return nil
	}
	data, _, err := read(tagged.Data, authored)
	if err != nil {
		return []string{err.Error()}
	}
	all := rules(authored)
	return problems(data.Services, all, len(all))
}

// problems are the sentences of the first rules that are broken.
func problems(services []wire, rules []rule, most int) []string {
	var found []string
	for _, r := range rules {
		if p, broken := r.problem(services); broken && len(found) < most {
			found = append(found, p)
		}
	}
	return found
}

// read gives a score's services, and the JSON of each. It fails where that does not
// have the shape of PodmanV0.
func read(raw json.RawMessage, f form) (wireData, []json.RawMessage, error) {
	var data wireData
	var fields map[string]json.RawMessage
	var parts []json.RawMessage
	v, err := decodeData(raw)
	if err != nil {
		return data, nil, fmt.Errorf("spec.score.data: %w", err)
	}
	shape := shapeOfData(f)
	if p := shape.problem("spec.score.data", v); p != "" {
		return data, nil, errors.New(p)
	}
	known, err := json.Marshal(shape.known(v))
	if err == nil {
		err = json.Unmarshal(known, &data)
	}
	if err == nil && len(data.Services) > 0 {
		err = json.Unmarshal(raw, &fields)
	}
	if err == nil && len(data.Services) > 0 {
		err = json.Unmarshal(fields["services"], &parts)
	}
	if err != nil {
		return data, nil, fmt.Errorf("spec.score.data: %w", err)
	}
	return data, parts, nil
}
