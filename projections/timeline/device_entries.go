package timeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/viewdiff"
)

// device tells what the operator says of the device.
func (f *deviceTimeline) device(r Record) {
	switch r.Type {
	case eventlog.DeviceRegistered:
		p, _ := eventlog.Payload[eventlog.Registration](r.Event) // checked before
		text := "registered"
		if p.AgentVersion != "" {
			text += ", with agent " + p.AgentVersion
		}
		f.add(r, Entry{Text: text})
	case eventlog.DeviceRelabeled:
		p, _ := eventlog.Payload[eventlog.Labels](r.Event)
		changes := labelFields(f.labels, p.Labels)
		f.labels = p.Labels
		f.add(r, Entry{Text: "its labels that select changed", Changes: changes})
	case eventlog.DeviceOnline, eventlog.DeviceOffline:
		f.heard(r)
	case eventlog.DeviceDecommissioned:
		p, _ := eventlog.Payload[eventlog.Removal](r.Event)
		f.out = true
		f.add(r, Entry{Text: "decommissioned", Reason: p.Reason, Who: actor(r.Actor)})
	}
}

// heard tells a verdict about the pulse, with how long the one before had held.
func (f *deviceTimeline) heard(r Record) {
	p, _ := eventlog.Payload[eventlog.Presence](r.Event)
	e := Entry{Text: "online", Reason: p.Reason}
	if r.Type == eventlog.DeviceOffline {
		e.Text = "offline: no pulse was ever heard"
		if !p.LastSeen.IsZero() {
			e.Text = "offline: the last pulse was " + SpanText(Between(p.LastSeen, r.Time)) + " before"
		}
		if p.Timeout > 0 {
			e.Text += ", and " + SpanText(p.Timeout) + " of silence are allowed"
		}
	}
	if f.presence != nil {
		e.After = Between(f.presence.At, r.At)
		if f.presence.Type == eventlog.DeviceOffline && r.Type == eventlog.DeviceOnline {
			e.Text = "online again"
		}
	}
	f.presence = &r
	f.add(r, e)
}

// infos tells what the device says of itself, when that changes.
func (f *deviceTimeline) infos(r Record) {
	if r.Type == eventlog.InfoCleared {
		f.info = nil
		f.add(r, Entry{Text: "what it said of itself was removed"})
		return
	}
	i, err := r.Info()
	if err != nil {
		return // checked before
	}
	e := Entry{Text: "it says that it is " + InventoryText(i.Inventory)}
	if f.info != nil {
		e.Text = "it says that it changed"
		e.Changes = slices.Concat(
			viewdiff.Leaves(viewdiff.Fields("labels", viewdiff.JSON(f.info.Labels), viewdiff.JSON(i.Labels))),
			viewdiff.Leaves(viewdiff.Fields("inventory", viewdiff.JSON(f.info.Inventory), viewdiff.JSON(i.Inventory))),
			viewdiff.TimeFields("key_expires", f.info.KeyExpires, i.KeyExpires))
		if len(e.Changes) == 0 {
			return
		}
	}
	f.info = &i
	f.add(r, e)
}

// InventoryText is what a device says that it is.
func InventoryText(i eventlog.Inventory) string {
	var parts []string
	for _, p := range []struct{ word, value string }{
		{"", i.OS}, {"", i.Arch}, {"agent ", i.AgentVersion}, {"podman ", i.PodmanVersion},
	} {
		if p.value != "" {
			parts = append(parts, p.word+p.value)
		}
	}
	if len(parts) == 0 {
		return "there"
	}
	return strings.Join(parts, ", ")
}

// agent tells what the agent did.
func (f *deviceTimeline) agent(r Record) {
	if r.Type == eventlog.AgentStarted {
		p, _ := eventlog.Payload[eventlog.AgentStart](r.Event)
		f.add(r, Entry{Text: strings.TrimSpace("agent " + p.AgentVersion + " started, with engine " + p.Engine)})
		return
	}
	s, err := eventlog.Payload[eventlog.Step](r.Event)
	if err != nil || r.Type.Family() != eventlog.FamilyAgent {
		return // a newer writer's
	}
	full := f.qualified(s.Deployment)
	f.again("agent "+s.Deployment+"/"+s.Service, r, Entry{
		Deployment: full, Service: s.Service, Revision: s.Revision, Reason: s.Reason, Error: s.Error, Took: s.Duration,
		Text: StepText(r.Type, strings.TrimSpace(full+" "+s.Service), s),
	})
}

// StepText says what an agent did, or tried, to one service.
func StepText(t eventlog.Type, what string, s eventlog.Step) string {
	done := strings.ReplaceAll(s.Step, "+", ", ")
	switch t {
	case eventlog.AgentStepFailed:
		return what + ": " + done + " failed"
	case eventlog.AgentDriftDetected:
		if s.Step == "" {
			return what + ": the agent found a container that is not the fleet's, and leaves it alone"
		}
		return what + ": found otherwise than it was left; due: " + done
	case eventlog.AgentDriftRepaired:
		return what + ": repaired: " + done
	case eventlog.AgentRolledBack:
		return what + ": rolled back: " + done
	}
	return what + ": " + done
}

// persons tells what persons did to the device, and what the callout said.
func (f *deviceTimeline) persons(r Record) {
	switch r.Type {
	case eventlog.CommandRequested, eventlog.CommandCompleted:
		p, _ := eventlog.Payload[eventlog.Command](r.Event)
		text := "command " + strings.TrimSpace(p.Verb+" "+strings.Join(p.Args, " "))
		if r.Type == eventlog.CommandCompleted {
			text += " completed"
			if p.Error != "" {
				text = strings.TrimSuffix(text, "completed") + "failed"
			}
		}
		f.add(r, Entry{Text: text, Error: p.Error, Who: actor(r.Actor)})
	case eventlog.RequestMade:
		p, _ := eventlog.Payload[eventlog.Request](r.Event)
		if p.Verb == eventlog.RequestDecommission {
			f.asked = r.ID
		}
		what := " it"
		if p.Verb == eventlog.RequestRevoke {
			what = " its access"
		}
		f.add(r, Entry{Text: "asked to " + p.Verb + what, Who: actor(r.Address.User), ChangeCause: p.Reason})
	case eventlog.AccessRevoked, eventlog.AccessAllowed:
		p, _ := eventlog.Payload[eventlog.Access](r.Event)
		text := "access revoked"
		if r.Type == eventlog.AccessAllowed {
			text = "access allowed"
			f.out = false
		}
		if p.Message != "" {
			text += ": " + p.Message
		}
		f.add(r, Entry{Text: text, Reason: p.Reason, Who: actor(r.Actor)})
	case eventlog.AuthGranted, eventlog.AuthDenied:
		p, _ := eventlog.Payload[eventlog.Auth](r.Event)
		text := "its connection was granted"
		if r.Type == eventlog.AuthDenied {
			text = "its connection was denied"
		}
		if p.Subject != "" {
			text += " to " + p.Subject
		}
		if p.Count > 1 {
			text += fmt.Sprintf(" %d times", p.Count)
		}
		f.again("auth", r, Entry{Text: text, Reason: p.Reason})
	}
}

// labelFields says which labels that select came, went or changed, each with
// whose it is.
func labelFields(before, after map[string]eventlog.OwnedLabel) []viewdiff.Field {
	all := maps.Clone(after)
	if all == nil {
		all = map[string]eventlog.OwnedLabel{}
	}
	maps.Copy(all, before)
	var out []viewdiff.Field
	for _, k := range slices.Sorted(maps.Keys(all)) {
		a, was := before[k]
		b, is := after[k]
		if was != is || a != b {
			out = append(out, viewdiff.TextFields(k, ownerText(a), ownerText(b))...)
		}
	}
	return out
}

func ownerText(l eventlog.OwnedLabel) string {
	value := l.Value
	if value == "" {
		value = `""` // there, and empty
	}
	switch l.Owner {
	case "":
		return l.Value
	case eventlog.OwnerDevice:
		return value + " (reported)"
	}
	return value + " (by " + l.Owner + ")"
}
