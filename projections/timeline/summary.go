package timeline

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/phrase"
)

// Summary says in a few words what an event carries; empty where the type says
// it all or the payload is of a newer version. Times are of the zone.
func Summary(e eventlog.Event, zone *time.Location) string {
	switch e.Type {
	case eventlog.LeaderElected:
		return summaryFrom(e, func(p eventlog.Leader) []string { return []string{p.Identity, phrase.Word("version", p.Version)} })
	case eventlog.DeploymentApplied:
		return summaryFrom(e, func(p eventlog.Deployment) []string {
			return []string{fmt.Sprintf("revision %d", p.Revision), phrase.Word("on", selectorText(p.Selector)), scoreText(p.Score), phrase.Word("by", requesterText(p.RequestedBy)), phrase.Quoted(p.ChangeCause)}
		})
	case eventlog.DeploymentDeleted, eventlog.DeploymentOrphaned, eventlog.DeploymentAdopted:
		return summaryFrom(e, func(p eventlog.DeploymentEnd) []string { return []string{p.Reason, phrase.Word("by", e.Actor)} })
	case eventlog.DeploymentRefused:
		return summaryFrom(e, func(p eventlog.Refusal) []string {
			return []string{fmt.Sprintf("generation %d", p.Generation), p.Reason, p.Message}
		})
	case eventlog.DesiredAssigned:
		return phrase.Join(fmt.Sprintf("revision %d", e.Revision), scoreText(e.Data))
	case eventlog.DeviceRegistered:
		return summaryFrom(e, func(p eventlog.Registration) []string { return []string{phrase.Word("agent", p.AgentVersion)} })
	case eventlog.DeviceRelabeled:
		return summaryFrom(e, func(p eventlog.Labels) []string { return []string{labelsText(p.Labels)} })
	case eventlog.DeviceOnline, eventlog.DeviceOffline:
		return summaryFrom(e, func(p eventlog.Presence) []string {
			return []string{p.Reason, phrase.Word("last seen", clock(p.LastSeen, zone))}
		})
	case eventlog.DeviceDecommissioned:
		return summaryFrom(e, func(p eventlog.Removal) []string { return []string{p.Reason} })
	case eventlog.InfoReported:
		return summaryFrom(e, func(p eventlog.DeviceInfo) []string {
			i := p.Inventory
			return []string{mapText(p.Labels), i.OS, i.Arch, phrase.Word("agent", i.AgentVersion), phrase.Word("podman", i.PodmanVersion)}
		})
	case eventlog.StateReported:
		return summaryFrom(e, stateText)
	case eventlog.AgentStarted:
		return summaryFrom(e, func(p eventlog.AgentStart) []string { return []string{p.AgentVersion, phrase.Word("engine", p.Engine)} })
	case eventlog.CommandRequested, eventlog.CommandCompleted:
		return summaryFrom(e, func(p eventlog.Command) []string {
			return []string{p.Verb, strings.Join(p.Args, " "), p.Error, phrase.Word("by", e.Actor)}
		})
	case eventlog.RequestMade:
		return summaryFrom(e, func(p eventlog.Request) []string {
			return []string{p.Verb, "by " + e.Address.User, phrase.Quoted(p.Reason)}
		})
	case eventlog.AccessRevoked, eventlog.AccessAllowed:
		return summaryFrom(e, func(p eventlog.Access) []string { return []string{p.Reason, p.Message, phrase.Word("by", e.Actor)} })
	case eventlog.AuthGranted, eventlog.AuthDenied:
		return summaryFrom(e, func(p eventlog.Auth) []string {
			return []string{p.Reason, p.Subject, phrase.Count(p.Count, "time", "times")}
		})
	case eventlog.BudgetApplied:
		return summaryFrom(e, budgetText)
	case eventlog.BudgetDeleted:
		return summaryFrom(e, func(p eventlog.BudgetEnd) []string { return []string{p.Reason} })
	case eventlog.SealCreated:
		return summaryFrom(e, func(p eventlog.Seal) []string {
			return []string{fmt.Sprintf("tree of %d, to %d", p.TreeSize, p.Sequence)}
		})
	}
	switch e.Address.Family {
	case eventlog.FamilyAgent:
		return summaryFrom(e, stepText)
	case eventlog.FamilyDeployment:
		return summaryFrom(e, func(p eventlog.Rollout) []string {
			if p.Kind != "" && p.Kind != eventlog.RunImmediate || p.Request > 0 {
				return []string{RolloutText(e.Type, p, len(p.Batches)), phrase.Word("by", e.Actor)}
			}
			return []string{fmt.Sprintf("revision %d", p.Revision), p.Strategy, phrase.Count(p.Devices, "device", "devices"), p.Reason}
		})
	}
	return ""
}

func summaryFrom[T any](e eventlog.Event, text func(T) []string) string {
	p, err := eventlog.Payload[T](e)
	if err != nil {
		return ""
	}
	return phrase.Join(text(p)...)
}

// requesterText is who asked for a change. A field manager's name is the client's
// own word.
func requesterText(r eventlog.Requester) string {
	if r.By == eventlog.RequestedByFieldManager && r.Name != "" {
		return r.Name + " (field manager)"
	}
	return r.Name
}

func stateText(s eventlog.DeploymentState) []string {
	out := []string{string(s.Phase), s.Reason}
	if s.Revision > 0 {
		out = append(out, fmt.Sprintf("revision %d", s.Revision))
	}
	for _, c := range s.Services {
		ports := ""
		if len(c.Ports) > 0 {
			ports = " on " + strings.Join(c.Ports, " ")
		}
		out = append(out, c.Name+" "+phrase.Join(c.State, c.Health)+ports)
	}
	if s.LastError != nil {
		out = append(out, phrase.Quoted(*s.LastError))
	}
	return out
}

func stepText(s eventlog.Step) []string {
	took := ""
	if s.Duration > 0 {
		took = time.Duration(s.Duration * float64(time.Second)).Round(time.Millisecond).String()
	}
	return []string{s.Step, strings.Trim(s.Deployment+"/"+s.Service, "/"), s.Reason, phrase.Quoted(s.Error), took}
}

// scoreText names the images, or the type of a score that is none of ours.
func scoreText(raw []byte) string {
	var s struct {
		Type string
		Data struct {
			Services []struct{ Name, Image string }
		}
	}
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	if len(s.Data.Services) == 0 {
		return s.Type
	}
	images := make([]string, len(s.Data.Services))
	for i, svc := range s.Data.Services {
		images[i] = svc.Name + "=" + svc.Image
	}
	return strings.Join(images, " ")
}

func selectorText(s eventlog.Selector) string {
	parts := []string{}
	if t := mapText(s.MatchLabels); t != "" {
		parts = append(parts, t)
	}
	for _, r := range s.MatchExpressions {
		parts = append(parts, strings.TrimSpace(r.Key+" "+r.Operator+" "+strings.Join(r.Values, ",")))
	}
	if len(parts) == 0 {
		return "every device"
	}
	return strings.Join(parts, ",")
}

func labelsText(labels map[string]eventlog.OwnedLabel) string {
	flat := make(map[string]string, len(labels))
	for k, v := range labels {
		flat[k] = v.Value
		if v.Owner != eventlog.OwnerDevice {
			flat[k] += " (by " + v.Owner + ")"
		}
	}
	return mapText(flat)
}

func mapText(m map[string]string) string {
	parts := make([]string, 0, len(m))
	for k, v := range m {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func clock(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(zone).Format("15:04:05")
}

func budgetText(b eventlog.Budget) []string {
	if b.Problem != "" {
		return []string{"binds nothing: " + b.Problem}
	}
	limit := ""
	if b.MaxUnavailable != nil {
		limit = "at most " + b.MaxUnavailable.String() + " down"
	} else if b.MinAvailable != nil {
		limit = "at least " + b.MinAvailable.String() + " up"
	}
	if len(b.GroupBy) > 0 {
		limit += " for each " + strings.Join(b.GroupBy, ",")
	}
	return []string{limit, phrase.Word("of", selectorText(b.Selector))}
}
