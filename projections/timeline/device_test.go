package timeline_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/storytest"
)

func TestHistoryOfADevice(t *testing.T) {
	t.Parallel()
	const d = "kasse-1"
	tests := map[string]struct {
		tell func(*storytest.Story)
		want []string
	}{
		"it comes, is labelled, goes and comes again": {
			func(w *storytest.Story) {
				w.Say(eventlog.AgentSubject(d), eventlog.AgentStarted, eventlog.AgentStart{AgentVersion: "v1", Engine: "podman"})
				w.Device(d, map[string]string{"site": "lab"})
				w.Online(d)
				w.Offline(d)
				w.Online(d)
			},
			[]string{
				"1 agent v1 started, with engine podman", "2 it says that it is Debian, agent v1", "3 registered, with agent v1",
				"4 its labels that select changed", "5 online",
				"6 offline: the last pulse was 1m40s before, and 1m30s of silence are allowed", "7 online again",
			},
		},
		"what it says of itself is told when it changes": {
			func(w *storytest.Story) {
				w.Device(d, nil)
				for _, version := range []string{"v1", "v2"} {
					w.Message(&nats.Msg{Subject: eventlog.InfoSubject(d), Data: fmt.Appendf(nil, `{"device_id":%q,"inventory":{"os":"Debian","agent_version":%q}}`, d, version)})
				}
			},
			[]string{"1 it says that it is Debian, agent v1", "2 registered, with agent v1", "3 its labels that select changed", "5 it says that it changed"},
		},
		"what is said again and again is told once": {
			func(w *storytest.Story) {
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
				w.Assign(d, storytest.Till, 1, 1)
				for range 3 {
					w.Report(d, storytest.Till, eventlog.PhasePending, "Creating", 1)
				}
			},
			[]string{"2 shop/till was assigned", "3 shop/till is reported Pending +2 to 5"},
		},
		"what goes to and fro is told twice, then counted": {
			func(w *storytest.Story) {
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
				w.Assign(d, storytest.Till, 1, 1)
				for range 5 {
					w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
					w.Report(d, storytest.Till, eventlog.PhaseFailed, "CrashLoop", 1)
				}
			},
			[]string{
				"2 shop/till was assigned",
				"3 shop/till is reported Running", "4 shop/till is reported Failed",
				"5 shop/till is reported Running +3 to 11", "6 shop/till is reported Failed +3 to 12",
			},
		},
		"a Deployment is withdrawn, because its labels changed": {
			func(w *storytest.Story) {
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
				w.Assign(d, storytest.Till, 1, 1)
				moved := w.Label(d, map[string]string{"site": "other"}, "kubectl-label")
				w.Withdraw(d, storytest.Till, moved)
				w.Withdraw(d, storytest.Till, 99)
				w.Cleared(d, storytest.Till)
			},
			[]string{
				"2 shop/till was assigned", "3 its labels that select changed",
				"4 shop/till was withdrawn: its labels no longer match", "5 shop/till was withdrawn again: the device still reported it",
				"6 shop/till is gone from the device",
			},
		},
		"the agent's steps, and what drifted": {
			func(w *storytest.Story) {
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
				w.Assign(d, storytest.Till, 1, 1)
				w.Step(d, storytest.Till, eventlog.AgentStepFailed, eventlog.Step{Step: "pull", Reason: "ImageNotFound", Error: "☠"})
				w.Step(d, storytest.Till, eventlog.AgentStepSucceeded, eventlog.Step{Step: "pull+create+start", Reason: "Assigned"})
				w.Step(d, storytest.Till, eventlog.AgentDriftDetected, eventlog.Step{Step: "start", Reason: "Exited"})
				w.Step(d, storytest.Till, eventlog.AgentDriftRepaired, eventlog.Step{Step: "start", Reason: "Exited"})
			},
			[]string{
				"2 shop/till was assigned", "3 shop/till web: pull failed", "4 shop/till web: pull, create, start",
				"5 shop/till web: found otherwise than it was left; due: start", "6 shop/till web: repaired: start",
			},
		},
		"persons and the callout": {
			func(w *storytest.Story) {
				w.Say(eventlog.CommandSubject(d), eventlog.CommandRequested, eventlog.Command{Verb: "exec", Args: []string{"web", "ls"}}, storytest.By("alice"))
				w.Say(eventlog.CommandSubject(d), eventlog.CommandCompleted, eventlog.Command{Verb: "exec", Error: "exit code 1"}, storytest.By("alice"))
				w.Say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Flooding", Message: "too much"})
				w.Say(eventlog.AccessSubject(d), eventlog.AccessAllowed, eventlog.Access{Reason: "Requested"}, storytest.By("bob"))
				w.Say(eventlog.AuthSubject(d), eventlog.AuthDenied, eventlog.Auth{Reason: "TokenExpired", Count: 3})
				w.Say(eventlog.DeviceSubject(d), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Replaced"}, storytest.By("alice"))
			},
			[]string{
				"1 command exec web ls by alice", "2 command exec failed by alice", "3 access revoked: too much by unknown",
				"4 access allowed by bob", "5 its connection was denied 3 times", "6 decommissioned by alice",
			},
		},
		"of a Deployment that the log never knew, the namespace is unknown": {
			func(w *storytest.Story) { w.Report(d, storytest.Till, eventlog.PhaseRunning, "UnknownDeployment", 0) },
			[]string{"1 till is reported Running"},
		},
		"what a device sent twice is told once": {
			func(w *storytest.Story) {
				for range 2 {
					w.Message(&nats.Msg{
						Subject: eventlog.StateSubject(d, "till"), Header: nats.Header{eventlog.HeaderCounter: {"e.1"}},
						Data: []byte(`{"device_id":"kasse-1","deployment":"till","phase":"Running","last_event_at":"2026-11-24T12:00:00Z"}`),
					})
				}
			},
			[]string{"1 till is reported Running"},
		},
		"other devices are left out": {
			func(w *storytest.Story) { w.Online("kasse-2") }, nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := storytest.New(t)
			tt.tell(w)
			if diff := cmp.Diff(tt.want, entriesText(w.DeviceHistory(d))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestADevicesEntriesSayWhatDiffers(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	const d = "kasse-1"
	w.Device(d, map[string]string{"site": "lab", "zone": "a"})
	w.Apply(storytest.Till, 1, storytest.Podman("nginx:1"))
	w.Assign(d, storytest.Till, 1, 4)
	w.Apply(storytest.Till, 2, storytest.Podman("nginx:2"))
	w.Assign(d, storytest.Till, 2, 6)
	moved := w.Say(eventlog.DeviceSubject(d), eventlog.DeviceRelabeled, eventlog.Labels{Labels: map[string]eventlog.OwnedLabel{
		"site": {Value: "other", Owner: "kubectl-label"}, "gpu": {Value: "yes", Owner: eventlog.OwnerDevice},
		"spare": {Value: "", Owner: "kubectl-label"},
	}})
	w.Withdraw(d, storytest.Till, moved)
	w.Online(d)
	w.Offline(d)
	es := w.DeviceHistory(d).Entries
	if diff := cmp.Diff([]string{"services[web].image: nginx:1 → nginx:2"}, storytest.FieldsText(es[4].Changes)); diff != "" {
		t.Errorf("assigned again (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"gpu:  → yes (reported)", "site: lab (reported) → other (by kubectl-label)", `spare:  → "" (by kubectl-label)`, "zone: a (reported) → ",
	}, storytest.FieldsText(es[5].Changes)); diff != "" {
		t.Errorf("relabelled (-want +got):\n%s", diff)
	}
	if es[6].Cause != moved || es[8].After != 1 {
		t.Errorf("cause %d, online for %v s", es[6].Cause, es[8].After)
	}
}
