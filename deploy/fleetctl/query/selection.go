package query

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/viewdiff"
)

// typeForeign selects the messages that are none of the fleet's.
const typeForeign = "foreign"

// Selection is which events a person wants to see. The zero value selects all.
type Selection struct {
	Device    string
	Namespace string // at the Deployment; empty for any
	Name      string // at the Deployment
	types     []string

	Actor, Correlation, Reason string
	// Trace is the id of a trace, as 32 hexadecimal digits in lower case.
	Trace string

	namespaces *namespaceHistory // set where other namespaces have a Deployment of the name
}

// all says whether every message of the log is selected.
func (s Selection) all() bool {
	return s.Device == "" && s.Name == "" && len(s.types) == 0 && s.Actor == "" && s.Correlation == "" && s.Reason == "" && s.Trace == ""
}

// NewSelection checks what a person typed.
func NewSelection(device, deployment string, types []string) (Selection, error) {
	s := Selection{Device: device, Name: deployment}
	if ns, name, ok := strings.Cut(deployment, "/"); ok {
		s.Namespace, s.Name = ns, name
		if err := eventlog.CheckName("namespace", ns); err != nil {
			return s, err
		}
	}
	if deployment != "" {
		if err := eventlog.CheckName("deployment", s.Name); err != nil {
			return s, err
		}
	}
	if device != "" {
		if err := eventlog.CheckName("device", device); err != nil {
			return s, err
		}
	}
	for _, t := range types {
		if !knownType(t) {
			return s, fmt.Errorf("unknown event type %q; types and their first words: %s", t, strings.Join(TypeWords(), ", "))
		}
		s.types = append(s.types, t)
	}
	return s, nil
}

// knownType takes a type, its first word, or foreign.
func knownType(t string) bool { return slices.Contains(TypeWords(), t) }

// TypeWords lists what --type takes, sorted.
func TypeWords() []string {
	words := []string{typeForeign}
	for _, t := range eventlog.Types() {
		first, _, _ := strings.Cut(string(t), ".")
		words = append(words, string(t), first)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// Subjects narrows what the server sends; nil is all. It may be wider than the
// selection, never narrower: match decides.
func (s Selection) Subjects() []string {
	wanted := s.families()
	if wanted == nil && s.Device == "" && s.Name == "" {
		return nil
	}
	var out []string
	for _, f := range eventlog.Families() {
		if wanted != nil && !slices.Contains(wanted, f) && (s.namespaces == nil || f != eventlog.FamilyDesired) {
			continue
		}
		if subject := s.subject(f); subject != "" {
			out = append(out, subject)
		}
	}
	return out
}

// subject is the part of a family that can match, empty for none.
func (s Selection) subject(f eventlog.Family) string {
	any1 := eventlog.Wildcard
	device, namespace, name := OrWildcard(s.Device), OrWildcard(s.Namespace), OrWildcard(s.Name)
	ofDevice := func(subject func(string) string, mayNameDeployment bool) string {
		if s.Name != "" && !mayNameDeployment {
			return ""
		}
		return subject(device)
	}
	switch f {
	case eventlog.FamilyDesired:
		return eventlog.DesiredSubject(device, name)
	case eventlog.FamilyState:
		return eventlog.StateSubject(device, name)
	case eventlog.FamilyAgent: // the payload names the Deployment
		return ofDevice(eventlog.AgentSubject, true)
	case eventlog.FamilyDevice:
		return ofDevice(eventlog.DeviceSubject, false)
	case eventlog.FamilyInfo:
		return ofDevice(eventlog.InfoSubject, false)
	case eventlog.FamilyCommand:
		return ofDevice(eventlog.CommandSubject, false)
	case eventlog.FamilyAuth:
		return ofDevice(eventlog.AuthSubject, false)
	case eventlog.FamilyAccess:
		return ofDevice(eventlog.AccessSubject, false)
	}
	if f == eventlog.FamilyRequest { // about a device, or about a Deployment
		switch {
		case s.Device == "" && s.Name == "":
			return eventlog.FamilySubjects(f)
		case s.Device == "":
			return eventlog.RequestSubject(any1, namespace, name)
		case s.Name == "":
			return eventlog.DeviceRequestSubject(any1, device)
		}
	}
	if s.Device != "" {
		return ""
	}
	if f == eventlog.FamilyDeployment {
		return eventlog.DeploymentSubject(namespace, name)
	}
	if s.Name != "" {
		return ""
	}
	return eventlog.FamilySubjects(f)
}

// families is where the wanted types live; nil is everywhere.
func (s Selection) families() []eventlog.Family {
	if len(s.types) == 0 || slices.Contains(s.types, typeForeign) {
		return nil
	}
	var out []eventlog.Family
	for _, t := range eventlog.Types() {
		if s.hasType(t) {
			out = append(out, t.Family())
		}
	}
	return out
}

func (s Selection) hasType(t eventlog.Type) bool {
	first, _, _ := strings.Cut(string(t), ".")
	return len(s.types) == 0 || slices.Contains(s.types, string(t)) || slices.Contains(s.types, first)
}

// Match says whether an event is selected. foreign is what came with it.
func (s Selection) Match(e eventlog.Event, foreign error) bool {
	if !s.matchEnvelope(e) {
		return false
	}
	if foreign != nil {
		return (len(s.types) == 0 || slices.Contains(s.types, typeForeign)) && s.matchAddress(e)
	}
	return s.hasType(e.Type) && s.matchAddress(e)
}

// matchEnvelope asks who, to which change and to which trace it belongs, and why.
func (s Selection) matchEnvelope(e eventlog.Event) bool {
	if s.Actor != "" && !actedBy(e, s.Actor) {
		return false
	}
	if c := s.Correlation; c != "" && e.CorrelationID != c && (strings.Contains(c, "@") || !strings.HasPrefix(e.CorrelationID, c+"@")) {
		return false
	}
	if s.Trace != "" && e.TraceID() != s.Trace {
		return false
	}
	if s.Reason == "" {
		return true
	}
	var p struct {
		Reason string `json:"reason"`
	}
	return len(e.Data) > 0 && json.Unmarshal(e.Data, &p) == nil && strings.EqualFold(p.Reason, s.Reason)
}

// actedBy says whether somebody did what an event tells: by the envelope, by the
// subject that only that user may write, or as who asked for a change.
func actedBy(e eventlog.Event, actor string) bool {
	if e.Actor == actor || e.Address.User == actor {
		return true
	}
	if e.Type != eventlog.DeploymentApplied {
		return false
	}
	d, err := eventlog.Payload[eventlog.Deployment](e)
	return err == nil && d.RequestedBy.Name == actor
}

func (s Selection) matchAddress(e eventlog.Event) bool {
	a := e.Address
	if s.Device != "" && a.Device != s.Device {
		return false
	}
	if s.Name == "" {
		return true
	}
	namespace, name := a.Namespace, a.Name
	switch a.Family {
	case eventlog.FamilyBudget:
		return false // the name is a Deployment's
	case eventlog.FamilyDesired:
		namespace, name = e.Namespace, a.Deployment
	case eventlog.FamilyState:
		namespace, name = s.namespaces.at(a.Device, e.Sequence), a.Deployment
	case eventlog.FamilyAgent:
		step, err := eventlog.Payload[eventlog.Step](e)
		if err != nil {
			return false
		}
		namespace, name = s.namespaces.at(a.Device, e.Sequence), step.Deployment
	}
	return name == s.Name && (s.Namespace == "" || namespace == "" || namespace == s.Namespace)
}

// OrWildcard is a name, or the wildcard of subjects where it is empty.
func OrWildcard(s string) string {
	if s == "" {
		return eventlog.Wildcard
	}
	return s
}

// Concerns reports whether a change is about the selected device and Deployment.
func (s Selection) Concerns(c viewdiff.Change) bool {
	device := s.Device == "" || c.Device == "" || c.Device == s.Device
	deployment := s.Name == "" || c.Deployment == "" ||
		c.Deployment == s.Name && (s.Namespace == "" || c.Namespace == "" || c.Namespace == s.Namespace)
	switch c.About {
	case viewdiff.AboutDeployment:
		return deployment && (s.Device == "" || s.Name != "")
	case viewdiff.AboutDevice:
		return device && (s.Name == "" || s.Device != "")
	}
	return device && deployment
}
