package eventsapi

import (
	"errors"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// ErrNothing says that no event can be what is asked for.
var ErrNothing = errors.New("no event is of such a type and about such a thing: events of Deployments, of devices and of requests are about different things; docs/events-api.md has a table")

// subjects gives the subjects of the log on which the events are; none means all.
func (q *query) subjects() ([]string, error) {
	families := map[eventlog.Family]bool{}
	for _, t := range eventlog.Types() {
		if q.wants(t) {
			families[t.Family()] = true
		}
	}
	if len(families) == len(eventlog.Families()) && q.namespace == "" && q.deployment == "" && q.device == "" {
		return nil, nil
	}
	var subjects []string
	for _, f := range eventlog.Families() {
		if !families[f] {
			continue
		}
		if s := q.subjectOf(f); s != "" {
			subjects = append(subjects, s)
		}
	}
	if len(subjects) == 0 {
		return nil, ErrNothing
	}
	return subjects, nil
}

// subjectOf gives the subject of the events of a family; empty where none of them is
// about what is asked for.
func (q *query) subjectOf(f eventlog.Family) string {
	namespace, deployment, device := orAny(q.namespace), orAny(q.deployment), orAny(q.device)
	ofDeployment := q.namespace != "" || q.deployment != ""
	switch f {
	case eventlog.FamilyDeployment:
		if q.device == "" {
			return eventlog.DeploymentSubject(namespace, deployment)
		}
	case eventlog.FamilyRequest:
		switch {
		case ofDeployment && q.device == "":
			return eventlog.RequestSubject(eventlog.Wildcard, namespace, deployment)
		case !ofDeployment && q.device != "":
			return eventlog.DeviceRequestSubject(eventlog.Wildcard, device)
		case !ofDeployment:
			return eventlog.FamilySubjects(f)
		}
	case eventlog.FamilyDesired:
		return eventlog.DesiredSubject(device, deployment) // its header has the namespace
	case eventlog.FamilyState:
		if q.namespace == "" || q.deployment != "" { // a report does not say the namespace
			return eventlog.StateSubject(device, deployment)
		}
	case eventlog.FamilyBudget, eventlog.FamilyLeader, eventlog.FamilySeal:
		if !ofDeployment && q.device == "" {
			return eventlog.FamilySubjects(f)
		}
	case eventlog.FamilyDevice:
		return q.ofDevice(eventlog.DeviceSubject(device))
	case eventlog.FamilyInfo:
		return q.ofDevice(eventlog.InfoSubject(device))
	case eventlog.FamilyAgent:
		return q.ofDevice(eventlog.AgentSubject(device))
	case eventlog.FamilyCommand:
		return q.ofDevice(eventlog.CommandSubject(device))
	case eventlog.FamilyAuth:
		return q.ofDevice(eventlog.AuthSubject(device))
	case eventlog.FamilyAccess:
		return q.ofDevice(eventlog.AccessSubject(device))
	}
	return ""
}

func (q *query) ofDevice(subject string) string {
	if q.namespace != "" || q.deployment != "" {
		return ""
	}
	return subject
}

func orAny(name string) string {
	if name == "" {
		return eventlog.Wildcard
	}
	return name
}

// wants says whether an event of a type is asked for.
func (q *query) wants(t eventlog.Type) bool {
	if len(q.types) == 0 && len(q.prefixes) == 0 {
		return true
	}
	if _, ok := q.types[t]; ok {
		return true
	}
	for _, prefix := range q.prefixes {
		if strings.HasPrefix(string(t), prefix) {
			return true
		}
	}
	return false
}

// matches says whether an event on one of the subjects is asked for.
func (q *query) matches(e *eventlog.Event) bool {
	switch {
	case !q.wants(e.Type):
		return false
	case !q.since.IsZero() && e.Recorded.Before(q.since), !q.until.IsZero() && e.Recorded.After(q.until):
		return false
	case q.namespace != "" && e.Address.Family == eventlog.FamilyDesired && e.Namespace != q.namespace:
		return false
	}
	return true
}

// sieves says whether not all events on the subjects are asked for.
func (q *query) sieves() bool {
	return len(q.types) > 0 || len(q.prefixes) > 0 || q.namespace != "" || q.only != nil
}
