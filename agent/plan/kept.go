package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog/score"
)

// Keeps is what is remembered, over restarts of the agent and of the device, of
// the services that have a container or had one. Nil is an empty one. A lost entry
// costs this: while an update waits, the container before it is kept by the
// update's restart policy and without its check, and is not made again where
// somebody removes it; and a job whose container was removed runs again.
type Keeps map[Key]Kept

// Kept is the revision in which a service is on the device: what its container was
// made from. While an update waits for its image, the service is kept so.
type Kept struct {
	Revision uint64 // of the Deployment, the last one that had the service so
	Service  score.Service
	// Ended is set where the container ended and its restart policy wants no more of
	// it: then the service is over, also once the container is removed.
	Ended *Ended
}

// Ended is the end of a container's last run.
type Ended struct {
	ExitCode  int  `json:"exit_code"`
	OOMKilled bool `json:"oom_killed,omitempty"`
}

// Same says whether two say the same.
func (k Kept) Same(other Kept) bool {
	if (k.Ended == nil) != (other.Ended == nil) || k.Ended != nil && *k.Ended != *other.Ended {
		return false
	}
	return k.Revision == other.Revision && k.Service.Hash == other.Service.Hash
}

// With is the Keeps with the service that a container was just made from.
func (k Keeps) With(spec engine.Spec) Keeps {
	c := maps.Clone(k)
	if c == nil {
		c = Keeps{}
	}
	c[Key{spec.Deployment, spec.Identity.Service}] = Kept{Revision: spec.Revision, Service: spec.Service}
	return c
}

// keptJSON is a Kept as it is stored: the service as the score has it.
type keptJSON struct {
	Revision uint64          `json:"revision"`
	Service  json.RawMessage `json:"service"`
	Ended    *Ended          `json:"ended,omitempty"`
}

// MarshalJSON writes the service as its score has it.
func (k Kept) MarshalJSON() ([]byte, error) {
	return json.Marshal(keptJSON{Revision: k.Revision, Service: k.Service.Raw, Ended: k.Ended})
}

// UnmarshalJSON reads what MarshalJSON wrote. It fails where this agent can't act
// upon the service any more.
func (k *Kept) UnmarshalJSON(b []byte) error {
	var stored keptJSON
	if err := json.Unmarshal(b, &stored); err != nil {
		return err
	}
	s, err := score.DecodeService(stored.Service)
	if err != nil {
		return fmt.Errorf("service: %w", err)
	}
	*k = Kept{Revision: stored.Revision, Service: s, Ended: stored.Ended}
	return nil
}

// target is what a service is to be brought to now, and whether that is an earlier
// revision, kept because the wanted one can't take its place yet. c is the
// service's best container, nil where there is none.
func (p *planner) target(d Desired, key Key, s score.Service, c *engine.Container) (k Kept, waits bool) {
	kept, known := p.kept[key]
	wanted := Kept{Revision: d.Revision, Service: s}
	if known && kept.Service.Hash == s.Hash {
		wanted.Ended = kept.Ended
	}
	next := p.memory[key].Next
	switch {
	case c != nil && c.Hash == s.Hash, next != nil && next.Hash == s.Hash && next.Pulled:
		return wanted, false
	case c == nil && !known, c == nil && kept.Service.Hash == s.Hash:
		return wanted, false
	case c == nil, known && kept.Service.Hash == c.Hash:
		return kept, true
	}
	// Made by an agent that did not remember: it can be started again, not made
	// again. What the score says now is the best guess at its restart policy.
	return Kept{Revision: c.Revision, Service: score.Service{Name: s.Name, Hash: c.Hash, RestartPolicy: s.RestartPolicy}}, true
}

// learn remembers the service that a container was seen to be made from.
func (p *planner) learn(key Key, k Kept, c *engine.Container) {
	if c == nil || c.Hash != k.Service.Hash || !k.remembered() {
		return
	}
	switch {
	case c.State == engine.StateRunning:
		k.Ended = nil
	case c.State.Ended() && !Restarts(k.Service.RestartPolicy, c.ExitCode):
		k.Ended = &Ended{ExitCode: c.ExitCode, OOMKilled: c.OOMKilled}
	}
	p.kept[key] = k
}

// remembered says whether it is known what the container was made from, so that
// another can be made.
func (k Kept) remembered() bool { return k.Service.Image != "" }

// update plans the pull of the wanted image beside whatever else goes on, while
// the service is kept in an earlier revision.
func (p *planner) update(d Desired, key Key, s score.Service) {
	r := p.memory[key]
	if r.Next != nil && p.backsOff(r.Next.Failure) {
		return
	}
	spec := &engine.Spec{
		Identity: engine.Identity{Device: p.in.Device, Deployment: key.Deployment, Service: key.Service},
		Revision: d.Revision, Service: s,
	}
	p.out.Pulls = append(p.out.Pulls, Step{Key: key, Verb: VerbPull, Spec: spec})
}

// keptOf gives the remembered services of a Deployment, ordered.
func (p *planner) keptOf(deployment string) []Key {
	return slices.SortedFunc(func(yield func(Key) bool) {
		for key := range p.kept {
			if key.Deployment == deployment && !yield(key) {
				return
			}
		}
	}, func(a, b Key) int { return strings.Compare(a.Service, b.Service) })
}
