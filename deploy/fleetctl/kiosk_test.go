package fleetctl_test

import (
	"encoding/json"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
)

// kiosk is a story in a namespace of its own, with names that nothing else has:
// drucker goes to two of three halls; its second revision fails on one, which is
// relabelled; a namesake in another namespace; a request; it is deleted, and one
// hall is offline by then. Events 11 to 41.
func kiosk() []told {
	const seven, eight, nine = "halle-7", "halle-8", "halle-9"
	apply := func(namespace string, revision uint64, image, why string, who eventlog.Requester) told {
		score := json.RawMessage(`{"data":{"services":[{"env":{"GRUSS":"grüß Gott"},"image":"` + image + `","name":"spooler"}]},"type":"PodmanV0"}`)
		return draft(eventlog.DeploymentSubject(namespace, "drucker"), eventlog.DeploymentApplied, eventlog.Deployment{
			UID: "u-" + namespace, Generation: int64(revision), Revision: revision, Score: score, ScoreHash: eventlog.Hash(score),
			Selector: eventlog.Selector{MatchExpressions: []eventlog.SelectorRequirement{
				{Key: "halle", Operator: "In", Values: []string{"nord", "süd"}}, {Key: "alt", Operator: "DoesNotExist"},
			}},
			Rollout: json.RawMessage(`{"strategy":"Immediate"}`), ChangeCause: why, RequestedBy: who,
		})
	}
	assign := func(device string, revision uint64, image string) told {
		score := json.RawMessage(`{"data":{"services":[{"env":{"GRUSS":"grüß Gott"},"image":"` + image + `","name":"spooler"}]},"type":"PodmanV0"}`)
		e := draft(eventlog.DesiredSubject(device, "drucker"), eventlog.DesiredAssigned, score)
		d := e.payload.(eventlog.Draft)
		d.Namespace, d.Revision = "kiosk", revision
		return told{e.subject, e.kind, d}
	}
	withdraw := func(device string) told {
		return told{eventlog.DesiredSubject(device, "drucker"), eventlog.DesiredWithdrawn, eventlog.Draft{
			Subject: eventlog.DesiredSubject(device, "drucker"), Type: eventlog.DesiredWithdrawn, Time: time.Now(), Namespace: "kiosk",
		}}
	}
	label := func(device string, labels map[string]eventlog.OwnedLabel) told {
		return draft(eventlog.DeviceSubject(device), eventlog.DeviceRelabeled, eventlog.Labels{Labels: labels})
	}
	nord := map[string]eventlog.OwnedLabel{"halle": {Value: "nord", Owner: eventlog.OwnerDevice}}
	west := map[string]eventlog.OwnedLabel{"halle": {Value: "west", Owner: "kubectl-label"}}
	rollout := func(kind eventlog.Type, revision uint64, devices int) told {
		return draft(eventlog.DeploymentSubject("kiosk", "drucker"), kind, eventlog.Rollout{Revision: revision, Kind: eventlog.RunImmediate, Strategy: "Immediate", Devices: devices})
	}
	step := func(device string, kind eventlog.Type, s eventlog.Step) told {
		s.Deployment, s.Service, s.At = "drucker", "spooler", time.Now()
		return told{eventlog.AgentSubject(device), kind, draft(eventlog.AgentSubject(device), kind, s).payload}
	}
	presence := func(device string, kind eventlog.Type) told {
		return draft(eventlog.DeviceSubject(device), kind, eventlog.Presence{Reason: "Test", LastSeen: time.Now()})
	}
	admitted := eventlog.Requester{Name: "zoë@kiosk.example", By: eventlog.RequestedByAdmission}
	return []told{
		label(seven, nord), label(eight, nord), label(nine, west), // 11 to 13
		presence(seven, eventlog.DeviceOnline), presence(eight, eventlog.DeviceOnline), // 14, 15
		apply("kiosk", 1, "registry.example/drucker:1", "eröffnet", admitted),                                                                  // 16
		rollout(eventlog.RolloutStarted, 1, 2), assign(seven, 1, "registry.example/drucker:1"), assign(eight, 1, "registry.example/drucker:1"), // 17 to 19
		step(seven, eventlog.AgentStepSucceeded, eventlog.Step{Step: "pull+create+start", Reason: "Assigned", Revision: 1}),        // 20
		reported(seven, "drucker", 1, eventlog.PhaseRunning, "", ""), reported(eight, "drucker", 1, eventlog.PhaseRunning, "", ""), // 21, 22
		rollout(eventlog.RolloutCompleted, 1, 2), // 23
		apply("kiosk", 2, "registry.example/drucker:2", "", eventlog.Requester{Name: "helm", By: eventlog.RequestedByFieldManager}), // 24
		rollout(eventlog.RolloutStarted, 2, 2), assign(seven, 2, "registry.example/drucker:2"), assign(eight, 2, "registry.example/drucker:2"), // 25 to 27
		step(seven, eventlog.AgentStepFailed, eventlog.Step{Step: "pull", Reason: "ImageNotFound", Error: "Abbild nicht gefunden: größer als 日本 ☠\n\x1b[31m", Revision: 2}), // 28
		reported(seven, "drucker", 2, eventlog.PhaseFailed, "ImageNotFound", "Abbild nicht gefunden: größer als 日本 ☠\n\x1b[31m"),                                            // 29
		reported(eight, "drucker", 2, eventlog.PhasePending, "Replacing", ""),                                                                                               // 30
		reported(eight, "drucker", 2, eventlog.PhaseRunning, "", ""),                                                                                                        // 31
		apply("lager", 1, "registry.example/lager:1", "", eventlog.Requester{By: eventlog.RequestedByUnknown}),                                                              // 32
		label(eight, west), withdraw(eight), {eventlog.StateSubject(eight, "drucker"), eventlog.StateCleared, cleared(eight, "drucker")}, // 33 to 35
		draft(eventlog.CommandSubject(seven), eventlog.CommandRequested, eventlog.Command{Verb: "logs", Args: []string{"spooler"}}), // 36
		presence(seven, eventlog.DeviceOffline), // 37
		draft(eventlog.DeploymentSubject("kiosk", "drucker"), eventlog.DeploymentDeleted, eventlog.DeploymentEnd{Reason: "CRDeleted"}), // 38
		withdraw(seven), // 39
		draft(eventlog.AccessSubject(nine), eventlog.AccessRevoked, eventlog.Access{Reason: "Stolen", Message: "aus Halle 9 entwendet"}), // 40
		step(nine, eventlog.AgentDriftDetected, eventlog.Step{Step: "start", Reason: "Exited"}),                                          // 41
	}
}

// lager goes on with the namesake: it is assigned to a hall, which runs it, and
// another still speaks of the first. Events 42 to 44.
func lager() []told {
	e := draft(eventlog.DesiredSubject("halle-9", "drucker"), eventlog.DesiredAssigned, image("registry.example/lager:1"))
	d := e.payload.(eventlog.Draft)
	d.Namespace, d.Revision = "lager", 1
	return []told{
		{e.subject, e.kind, d},
		reported("halle-7", "drucker", 2, eventlog.PhaseRunning, "", ""),
		reported("halle-9", "drucker", 1, eventlog.PhaseRunning, "", ""),
	}
}

func cleared(device, deployment string) eventlog.Draft {
	return eventlog.Draft{Subject: eventlog.StateSubject(device, deployment), Type: eventlog.StateCleared, Time: time.Now()}
}

// draft is an event with its envelope, anyone who writes it.
func draft(subject string, kind eventlog.Type, payload any) told {
	d, err := eventlog.NewDraft(subject, kind, time.Now(), payload)
	if err != nil {
		panic(fmt.Sprintf("encode %s: %v", kind, err)) // plain structs
	}
	return told{subject, kind, d}
}
