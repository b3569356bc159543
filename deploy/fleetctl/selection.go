package fleetctl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog"
)

// typeForeign selects the messages that are none of the fleet's.
const typeForeign = "foreign"

// selectionFlags are the flags by which a person selects events.
type selectionFlags struct {
	device, deployment         string
	types                      []string
	actor, correlation, reason string
}

func (f *selectionFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.device, "device", "", "only what is about this device")
	flags.StringVar(&f.deployment, "deployment", "", "only what is about this Deployment: NAMESPACE/NAME or NAME")
	flags.StringSliceVar(&f.types, "type", nil, "only these types, such as state.reported, or their first words, such as rollout")
	flags.StringVar(&f.actor, "actor", "", "only what this person or program did, as the log knows it")
	flags.StringVar(&f.correlation, "correlation", "", "only what belongs to one change: NAMESPACE/NAME@REVISION, or NAMESPACE/NAME for every change of it")
	flags.StringVar(&f.reason, "reason", "", "only what has this reason, such as ImagePullFailed")
}

func (f selectionFlags) selection() (selection, error) {
	s, err := newSelection(f.device, f.deployment, f.types)
	s.actor, s.correlation, s.reason = f.actor, f.correlation, f.reason
	return s, err
}

// selection is which events a person wants to see. The zero value selects all.
type selection struct {
	device    string
	namespace string // of the Deployment; empty for any
	name      string // of the Deployment
	types     []string

	actor, correlation, reason string

	tenants *tenancy // set where other namespaces have a Deployment of the name
}

// all says whether every message of the log is selected.
func (s selection) all() bool {
	return s.device == "" && s.name == "" && len(s.types) == 0 && s.actor == "" && s.correlation == "" && s.reason == ""
}

// newSelection checks what a person typed.
func newSelection(device, deployment string, types []string) (selection, error) {
	s := selection{device: device, name: deployment}
	if ns, name, ok := strings.Cut(deployment, "/"); ok {
		s.namespace, s.name = ns, name
		if err := eventlog.CheckName("namespace", ns); err != nil {
			return s, err
		}
	}
	if deployment != "" {
		if err := eventlog.CheckName("deployment", s.name); err != nil {
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
			return s, fmt.Errorf("%q is no type of event, nor the first word of one; there are: %s", t, strings.Join(typeWords(), ", "))
		}
		s.types = append(s.types, t)
	}
	return s, nil
}

// knownType takes a type, its first word, or foreign.
func knownType(t string) bool { return slices.Contains(typeWords(), t) }

// typeWords lists what --type takes, sorted.
func typeWords() []string {
	words := []string{typeForeign}
	for _, t := range eventlog.Types() {
		first, _, _ := strings.Cut(string(t), ".")
		words = append(words, string(t), first)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// subjects narrows what the server sends; nil is all. It may be wider than the
// selection, never narrower: match decides.
func (s selection) subjects() []string {
	wanted := s.families()
	if wanted == nil && s.device == "" && s.name == "" {
		return nil
	}
	var out []string
	for _, f := range eventlog.Families() {
		if wanted != nil && !slices.Contains(wanted, f) && (s.tenants == nil || f != eventlog.FamilyDesired) {
			continue
		}
		if subject := s.subject(f); subject != "" {
			out = append(out, subject)
		}
	}
	return out
}

// subject is the part of a family that can match, empty for none.
func (s selection) subject(f eventlog.Family) string {
	any1 := eventlog.Wildcard
	device, namespace, name := orAny(s.device), orAny(s.namespace), orAny(s.name)
	ofDevice := func(subject func(string) string, mayNameDeployment bool) string {
		if s.name != "" && !mayNameDeployment {
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
		case s.device == "" && s.name == "":
			return eventlog.FamilySubjects(f)
		case s.device == "":
			return eventlog.RequestSubject(any1, namespace, name)
		case s.name == "":
			return eventlog.DeviceRequestSubject(any1, device)
		}
	}
	if s.device != "" {
		return ""
	}
	if f == eventlog.FamilyDeployment {
		return eventlog.DeploymentSubject(namespace, name)
	}
	if s.name != "" {
		return ""
	}
	return eventlog.FamilySubjects(f)
}

// families is where the wanted types live; nil is everywhere.
func (s selection) families() []eventlog.Family {
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

func (s selection) hasType(t eventlog.Type) bool {
	first, _, _ := strings.Cut(string(t), ".")
	return len(s.types) == 0 || slices.Contains(s.types, string(t)) || slices.Contains(s.types, first)
}

// match says whether an event is selected. foreign is what came with it.
func (s selection) match(e eventlog.Event, foreign error) bool {
	if !s.matchEnvelope(e) {
		return false
	}
	if foreign != nil {
		return (len(s.types) == 0 || slices.Contains(s.types, typeForeign)) && s.matchAddress(e)
	}
	return s.hasType(e.Type) && s.matchAddress(e)
}

// matchEnvelope asks who, to which change it belongs, and why.
func (s selection) matchEnvelope(e eventlog.Event) bool {
	if s.actor != "" && !actedBy(e, s.actor) {
		return false
	}
	if c := s.correlation; c != "" && e.CorrelationID != c && (strings.Contains(c, "@") || !strings.HasPrefix(e.CorrelationID, c+"@")) {
		return false
	}
	if s.reason == "" {
		return true
	}
	var p struct {
		Reason string `json:"reason"`
	}
	return len(e.Data) > 0 && json.Unmarshal(e.Data, &p) == nil && strings.EqualFold(p.Reason, s.reason)
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

func (s selection) matchAddress(e eventlog.Event) bool {
	a := e.Address
	if s.device != "" && a.Device != s.device {
		return false
	}
	if s.name == "" {
		return true
	}
	namespace, name := a.Namespace, a.Name
	switch a.Family {
	case eventlog.FamilyDesired:
		namespace, name = e.Namespace, a.Deployment
	case eventlog.FamilyState:
		namespace, name = s.tenants.of(a.Device, e.Sequence), a.Deployment
	case eventlog.FamilyAgent:
		step, err := eventlog.Payload[eventlog.Step](e)
		if err != nil {
			return false
		}
		namespace, name = s.tenants.of(a.Device, e.Sequence), step.Deployment
	}
	return name == s.name && (s.namespace == "" || namespace == "" || namespace == s.namespace)
}

func orAny(s string) string {
	if s == "" {
		return eventlog.Wildcard
	}
	return s
}
