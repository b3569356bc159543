// Package explain answers why a Deployment is, or is not, on a device: the state, the
// chain of events that led to it, and what would change it. It is pure.
package explain

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/timeline"
)

// Answer says why a device is in its state: the chain of causes, each proved by
// an event, and what comes next. The events are those of the question's Subjects,
// or more.
//
// Errors: ErrUnknownDevice, ErrUnknownDeployment; ErrAmbiguous, whose text lists
// the namespaces; what reading the events fails with.
func Answer(events iter.Seq2[eventlog.Event, error], q Question, o timeline.Options) (*Explanation, error) {
	e, err := Gather(events, q, o)
	if err != nil {
		return nil, err
	}
	return e.Answer()
}

// Evidence is what the events say of a question.
type Evidence struct{ *evidence }

// Gather is the part of Answer that reads the events: whoever shares the fleet reads them
// while others have it.
func Gather(events iter.Seq2[eventlog.Event, error], q Question, o timeline.Options) (*Evidence, error) {
	s := newEvidence(q, o)
	if err := s.read(events); err != nil {
		return nil, err
	}
	return &Evidence{s}, nil
}

// Answer is the other part: it asks for the fleet, where the question has it. It is called once.
func (s *Evidence) Answer() (*Explanation, error) {
	q := s.question
	if !s.known() {
		return nil, fmt.Errorf("%w: %s", ErrUnknownDevice, q.Device)
	}
	if q.Deployment.Name == "" {
		e := s.explainDevice()
		return e, s.failed
	}
	key, err := s.resolve(q.Deployment)
	if err != nil {
		return nil, err
	}
	e := s.explainPlace(key)
	return e, s.failed
}

// known says whether anything was ever said of the device that says what it is:
// that its access was revoked, say, does not.
func (s *evidence) known() bool {
	return s.gone != nil || s.leaving != nil || s.registered != nil || s.labels != nil || s.presence != nil || s.info != nil || len(s.places) > 0
}

// resolve finds the namespace of a name that was given without one: that of the
// Deployment which the device has or last had, else the only one.
func (s *evidence) resolve(key fleet.Key) (fleet.Key, error) {
	p := s.places[key.Name]
	if key.Namespace == "" && p != nil && p.desired != nil {
		return p.held, nil
	}
	var all []string
	for k := range s.specs {
		if k.Name == key.Name && s.specs[k].now != nil {
			all = append(all, k.Namespace)
		}
	}
	slices.Sort(all)
	switch {
	case key.Namespace != "" && slices.Contains(all, key.Namespace):
		return key, nil
	case key.Namespace == "" && len(all) == 1:
		return fleet.Key{Namespace: all[0], Name: key.Name}, nil
	case key.Namespace == "" && len(all) > 1:
		return key, fmt.Errorf("%w %s: %s", ErrAmbiguous, key.Name, strings.Join(all, ", "))
	case p != nil && p.latest != nil && (key.Namespace == "" || len(all) == 0):
		return key, nil // the device reports what the log never knew
	case p != nil && p.desired != nil && p.held == key:
		return key, nil
	}
	return key, fmt.Errorf("%w: %s", ErrUnknownDeployment, strings.TrimPrefix(key.String(), "/"))
}

// explainPlace is about one Deployment on the device.
func (s *evidence) explainPlace(key fleet.Key) *Explanation {
	c := s.placementOf(key)
	v := judge(c)
	e := &Explanation{
		Device: s.id, Namespace: key.Namespace, Deployment: key.Name, State: v.state, Reason: v.reason,
		Summary: v.summary, Chain: c.chain(), Next: v.next, Waits: c.waitsFor(),
	}
	if s.last != nil {
		e.At = s.last.Position
	}
	return e
}

// standing is how a Deployment stands, in one line.
func (s *evidence) standing(key fleet.Key) Standing {
	v := judge(s.placementOf(key))
	return Standing{Namespace: key.Namespace, Deployment: key.Name, State: v.state, Reason: v.reason, Summary: v.summary}
}

// States of a device by itself.
const (
	StateOnline         State = "Online"         // its pulse is heard
	StateOffline        State = "Offline"        // it is not
	StateNotYetHeard    State = "NotYetHeard"    // no verdict has been reached
	StateAccessRevoked  State = "AccessRevoked"  // it may not connect
	StateDecommissioned State = "Decommissioned" // it was taken out of the fleet
)

// explainDevice is about the device by itself, with a line for each Deployment.
func (s *evidence) explainDevice() *Explanation {
	e := &Explanation{Device: s.id}
	if s.last != nil {
		e.At = s.last.Position
	}
	e.State, e.Reason, e.Summary = s.standingOfDevice()
	e.Chain = s.deviceChain()
	e.Next = s.deviceNext()
	for _, key := range s.keys() {
		st := s.standing(key)
		if st.State == StateDecommissioned && s.never(key) {
			continue // what never was on it says nothing of it now
		}
		if st.State == StateNotMatched && s.never(key) {
			e.Elsewhere = append(e.Elsewhere, st)
		} else if st.State != StateEnded || !s.never(key) {
			e.Deployments = append(e.Deployments, st)
		}
	}
	return e
}

// never says that the device never had anything to do with a Deployment.
func (s *evidence) never(key fleet.Key) bool {
	p := s.places[key.Name]
	return p == nil || p.held != key
}

// keys are the Deployments to speak of: those that the log applied, and what the
// device reports besides, sorted.
func (s *evidence) keys() []fleet.Key {
	all := map[fleet.Key]struct{}{}
	for k, m := range s.specs {
		if m.now != nil {
			all[k] = struct{}{}
		}
	}
	for name, p := range s.places {
		switch {
		case p.desired != nil:
			all[p.held] = struct{}{}
		case p.latest != nil:
			all[fleet.Key{Name: name}] = struct{}{}
		}
	}
	return slices.SortedFunc(maps.Keys(all), fleet.Key.Compare)
}

func (s *evidence) standingOfDevice() (State, string, Sentence) {
	d := s.device()
	switch {
	case s.gone != nil && d != nil && d.Decommissioned:
		return StateDecommissioned, "", s.citing(s.gone, s.id+" was decommissioned")
	case d != nil && d.Access != nil:
		return StateAccessRevoked, d.Access.Reason, s.citing(s.access, s.id+" may not connect: its access was revoked")
	case s.presence == nil:
		return StateNotYetHeard, "", s.nothing("no verdict about the pulse of " + s.id + " has been reached")
	case s.presence.kind == eventlog.DeviceOffline:
		return StateOffline, d.Presence.Reason, s.citing(s.presence, s.id+" is offline: its pulse is not heard")
	}
	return StateOnline, d.Presence.Reason, s.citing(s.presence, s.id+" is online: its pulse is heard")
}

// presenceSentence says whether the device is heard, and since when.
func (s *evidence) presenceSentence() Sentence {
	if s.presence == nil {
		return s.nothing(s.id + " was neither found online nor offline yet")
	}
	if s.presence.kind == eventlog.DeviceOnline {
		return s.citing(s.presence, s.id+" is online, since then")
	}
	text := s.id + " is offline, since then"
	if seen := s.device().Presence.LastSeen; !seen.IsZero() {
		text += "; its last pulse was " + timeline.SpanText(timeline.Between(seen, s.presence.Time)) + " before"
	}
	return s.citing(s.presence, text)
}

func (s *evidence) deviceChain() []Sentence {
	var out []Sentence
	add := func(m *mark, text string) {
		if m != nil {
			out = append(out, s.citing(m, text))
		}
	}
	add(s.registered, s.id+" was registered")
	if d := s.device(); d != nil {
		if d.Info != nil {
			add(s.info, "it says that it is "+timeline.InventoryText(d.Info.Inventory))
		}
		add(s.labels, "its labels that select: "+ownedTexts(d.Labels, nil))
		if d.Identity.Duplicate(s.now()) {
			out = append(out, s.citing(s.last, "two machines report as "+s.id+" (a cloned SD card?): give one of them another device_id"))
		}
		if a := d.Access; a != nil {
			add(s.access, "its access was revoked"+because(a.Reason)+colon(a.Message))
		}
	}
	add(s.started, "its agent was started")
	if s.presence != nil {
		out = append(out, s.presenceSentence())
	}
	add(s.leaving, s.leavingBy+" asked to decommission it")
	add(s.gone, "it was decommissioned")
	sortSentences(out)
	return out
}

func (s *evidence) deviceNext() []Sentence {
	d := s.device()
	switch {
	case d == nil:
		return nil
	case d.AccessRequest != nil:
		return []Sentence{s.citing(s.accessRequest, d.AccessRequest.User+" asked to "+d.AccessRequest.Verb+" it; the operator does that next; is an operator running?")}
	case d.Decommissioned:
		return []Sentence{s.citing(s.gone, "nothing; the fleet ignores what it reports until somebody allows it again: fleetctl device allow "+s.id)}
	case d.Leaving != nil:
		return []Sentence{s.citing(s.leaving, "the operator withdraws all that is on it and decommissions it; is an operator running?")}
	case d.Access != nil:
		return []Sentence{s.citing(s.access, "it stays away until somebody allows it again")}
	case s.presence == nil:
		return []Sentence{s.nothing("the operator calls no device online or offline before it has listened for one whole timeout")}
	case s.presence.kind == eventlog.DeviceOffline:
		return []Sentence{s.citing(s.presence, "it runs what it last had; back again, it asks for all that it should run and reports what happened meanwhile")}
	}
	return []Sentence{s.citing(s.presence, "nothing is due for the device itself")}
}

// ownedTexts lists labels with their owners; keys nil is all.
func ownedTexts(labels map[string]eventlog.OwnedLabel, wanted []string) string {
	if wanted == nil {
		wanted = slices.Sorted(maps.Keys(labels))
	}
	var parts []string
	for _, k := range wanted {
		if l, ok := labels[k]; ok {
			parts = append(parts, selectors.OwnedText(k, l))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func colon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// sortSentences puts them in the order of time, what has no event last.
func sortSentences(all []Sentence) {
	slices.SortStableFunc(all, func(a, b Sentence) int {
		switch {
		case (a.Type == "") != (b.Type == ""):
			if a.Type == "" {
				return 1
			}
			return -1
		case !a.Time.Equal(b.Time):
			return a.Time.Compare(b.Time)
		}
		return cmp.Compare(a.Sequence, b.Sequence)
	})
}
