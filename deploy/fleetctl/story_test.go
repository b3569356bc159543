package fleetctl_test

import (
	"context"
	"encoding/json"
	"time"

	"fleet.nationtech.io/eventlog"
)

// told is one event of a story. What devices write comes without an envelope, as
// from a plain KV client; a []byte is written as it is.
type told struct {
	subject string
	kind    eventlog.Type
	payload any
}

// beginning is how every script's log begins: ten events.
func beginning() []told {
	return []told{
		{eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "op-1", ClusterUID: "u", Version: "v1"}},
		applied("default", "hello", 1, "nginx:1"),
		assigned("edge-01", "hello", "nginx:1"),
		applied("default", "lost", 1, "nginx:1"),
		{eventlog.DeploymentSubject("default", "lost"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{Reason: "ResourceGone"}},
		applied("default", "unheard", 1, "nginx:1"),
		{eventlog.DeploymentSubject("default", "unheard"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{Reason: "ResourceGone"}},
		{eventlog.DeviceSubject("edge-01"), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseHeard"}},
		reported("edge-01", "hello", 1, eventlog.PhaseRunning, "", ""),
		{eventlog.StateSubject("edge-01", "hello"), eventlog.StateReported, []byte("not JSON")},
	}
}

// stories are what scripts can append after that, by name.
func stories() map[string][]told {
	return map[string][]told{
		// Two devices register; a new revision works on one and fails on the other,
		// which goes offline; web comes and goes, and edge-01 has not heard of it;
		// edge-01 runs something that this log never knew. Events 11 to 31.
		"rollout": {
			info("edge-01", "arm64"),
			{eventlog.DeviceSubject("edge-01"), eventlog.DeviceRegistered, eventlog.Registration{AgentVersion: "v1.2.3"}},
			relabeled("edge-01"),
			info("edge-02", "amd64"),
			{eventlog.DeviceSubject("edge-02"), eventlog.DeviceRegistered, eventlog.Registration{AgentVersion: "v1.2.3"}},
			relabeled("edge-02"),
			assigned("edge-02", "hello", "nginx:1"),
			reported("edge-02", "hello", 1, eventlog.PhaseRunning, "", ""),
			applied("default", "hello", 2, "nginx:2"),
			{eventlog.DeploymentSubject("default", "hello"), eventlog.RolloutStarted, eventlog.Rollout{Revision: 2, Strategy: "Immediate", Devices: 2}},
			assigned("edge-01", "hello", "nginx:2"),
			assigned("edge-02", "hello", "nginx:2"),
			reported("edge-01", "hello", 2, eventlog.PhaseRunning, "", ""),
			reported("edge-02", "hello", 2, eventlog.PhaseFailed, "ImagePullFailed", "manifest unknown"),
			{eventlog.DeviceSubject("edge-02"), eventlog.DeviceOffline, eventlog.Presence{Reason: "PulseMissed"}},
			applied("shop", "web", 1, "nginx:1"),
			assigned("edge-01", "web", "nginx:1"),
			{eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentDeleted, eventlog.DeploymentEnd{Reason: "CRDeleted"}},
			{eventlog.DesiredSubject("edge-01", "web"), eventlog.DesiredWithdrawn, nil},
			reported("edge-01", "web", 1, eventlog.PhaseRunning, "", ""),
			reported("edge-01", "old", 7, eventlog.PhaseRunning, "", ""),
		},
	}
}

func image(image string) json.RawMessage {
	return json.RawMessage(`{"data":{"services":[{"image":"` + image + `","name":"web"}]},"type":"PodmanV0"}`)
}

func applied(namespace, name string, revision uint64, runs string) told {
	score := image(runs)
	return told{eventlog.DeploymentSubject(namespace, name), eventlog.DeploymentApplied, eventlog.Deployment{
		UID: namespace + "-" + name, Generation: int64(revision), Revision: revision,
		Selector: eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}}, Score: score, ScoreHash: eventlog.Hash(score),
	}}
}

func assigned(device, deployment, runs string) told {
	return told{eventlog.DesiredSubject(device, deployment), eventlog.DesiredAssigned, image(runs)}
}

func reported(device, deployment string, revision uint64, phase eventlog.Phase, reason, message string) told {
	s := eventlog.DeploymentState{
		DeviceID: device, Deployment: deployment, Phase: phase, Revision: revision, Reason: reason, LastEventAt: time.Now().UTC().Truncate(time.Second),
	}
	if message != "" {
		s.LastError = &message
	}
	return told{eventlog.StateSubject(device, deployment), eventlog.StateReported, s}
}

func info(device, arch string) told {
	return told{eventlog.InfoSubject(device), eventlog.InfoReported, eventlog.DeviceInfo{
		DeviceID: device, Labels: map[string]string{"site": "lab"},
		Inventory: eventlog.Inventory{Arch: arch, OS: "Debian", AgentVersion: "v1.2.3", PodmanVersion: "5.8.2"},
	}}
}

func relabeled(device string) told {
	return told{eventlog.DeviceSubject(device), eventlog.DeviceRelabeled, eventlog.Labels{Labels: map[string]eventlog.OwnedLabel{
		"site": {Value: "lab", Owner: eventlog.OwnerDevice}, "fleet.nationtech.io/device": {Value: device, Owner: "fleet-operator"},
	}}}
}

// say appends a story to the log.
func (w *world) say(story ...told) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, e := range story {
		if err := w.append(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) append(ctx context.Context, e told) error {
	a, err := eventlog.ParseSubject(e.subject)
	if err != nil {
		return err
	}
	if a.Family.OfDevices() {
		data, ok := e.payload.([]byte)
		if !ok {
			if data, err = json.Marshal(e.payload); err != nil {
				return err
			}
		}
		_, err = w.js.Publish(ctx, e.subject, data)
		return err
	}
	d, err := eventlog.NewDraft(e.subject, e.kind, time.Now(), e.payload)
	if err != nil {
		return err
	}
	if a.Family == eventlog.FamilyDesired {
		d.Namespace, d.Revision = "default", 1
		if a.Deployment == "web" {
			d.Namespace = "shop"
		}
		if score, ok := e.payload.(json.RawMessage); ok && string(score) == string(image("nginx:2")) {
			d.Revision = 2
		}
		if e.kind.Removes() {
			d.Data = nil
		}
	}
	_, err = eventlog.AppendUnfenced(ctx, w.js, "operator", d)
	return err
}
