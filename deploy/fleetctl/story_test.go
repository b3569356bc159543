package fleetctl_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
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
			{eventlog.DeploymentSubject("default", "hello"), eventlog.RolloutStarted, eventlog.Rollout{Revision: 2, Kind: eventlog.RunImmediate, Strategy: "Immediate", Devices: 2}},
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
		// edge-01 goes offline while alice changes hello and bob asks for it, and
		// reports later what had happened ten minutes ago. Events 11 to 14.
		"outage": {
			{eventlog.DeviceSubject("edge-01"), eventlog.DeviceOffline, eventlog.Presence{Reason: "PulseMissed"}},
			askedBy("alice", applied("default", "hello", 2, "nginx:2")),
			{eventlog.CommandSubject("edge-01"), eventlog.CommandRequested, eventlog.Command{Verb: "ping"}},
			late(10*time.Minute, reported("edge-01", "hello", 1, eventlog.PhaseFailed, "CrashLoop", "")),
		},
		// A device that was decommissioned goes on reporting: two events. And one that
		// the operator of the scripts does not hear.
		"ghost": {info("edge-02", "amd64"), reported("edge-02", "hello", 2, eventlog.PhaseRunning, "", "")},
		"mute":  {info("mute-01", "amd64")},
		// More than a reader asks for at a time.
		"flood": flood(),
		"storm": storm(),
		// A namesake of shop/web, in a namespace that comes first.
		"namesake": {applied("bakery", "web", 1, "nginx:1")},
		"kiosk":    kiosk(),
		"lager":    lager(),
		"traced":   traced(),
		// A rollout in two batches, and how its first fails.
		"batches":    batches(),
		"batchfails": batchFails(),
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

// decommissioned is what an operator says when a person takes out a device that
// has hello.
func decommissioned(device, user, cause string) []told {
	because := func(d eventlog.Draft) told {
		d.Time, d.Actor, d.CausationID = time.Now(), user, cause
		return told{d.Subject, d.Type, d}
	}
	removal, err := eventlog.NewDraft(eventlog.DeviceSubject(device), eventlog.DeviceDecommissioned, time.Now(), eventlog.Removal{Reason: "Requested"})
	if err != nil {
		panic(err)
	}
	return []told{
		because(eventlog.Draft{Subject: eventlog.DesiredSubject(device, "hello"), Type: eventlog.DesiredWithdrawn, Namespace: "default", Revision: 2}),
		because(eventlog.Draft{Subject: eventlog.InfoSubject(device), Type: eventlog.InfoCleared}),
		because(removal),
	}
}

// accessChanged is what an operator says when a person asks about a device's access.
func accessChanged(device string, typ eventlog.Type, asked eventlog.Request, user, cause string) told {
	d, err := eventlog.NewDraft(eventlog.AccessSubject(device), typ, time.Now(), eventlog.Access{Reason: "Requested", Message: asked.Reason})
	if err != nil {
		panic(err)
	}
	d.Actor, d.CausationID = user, cause
	return told{d.Subject, d.Type, d}
}

// traced is a change whose events name their trace, as those of an operator with a collector do:
// three events.
func traced() []told {
	of := func(e told, traceparent string) told {
		d, err := eventlog.NewDraft(e.subject, e.kind, time.Now(), e.payload)
		if err != nil {
			panic(err)
		}
		d.Traceparent, d.Namespace, d.Revision = traceparent, "default", 2
		return told{d.Subject, d.Type, d}
	}
	change := eventlog.TraceContext{TraceID: [16]byte{0x4b, 15: 0x36}, SpanID: [8]byte{7: 1}, Flags: eventlog.FlagSampled}
	device := change
	device.SpanID = [8]byte{7: 2}
	return []told{
		of(applied("default", "hello", 2, "nginx:2"), change.String()),
		of(assigned("edge-01", "hello", "nginx:2"), device.String()),
		of(reported("edge-01", "hello", 2, eventlog.PhaseRunning, "", ""), device.String()),
	}
}

func flood() []told {
	const events, bytes = 15000, 300
	e := told{eventlog.AgentSubject("edge-01"), eventlog.AgentStarted, eventlog.AgentStart{Engine: strings.Repeat("podman ", bytes/7)}}
	return slices.Repeat([]told{e}, events)
}

// storm is a device that changes its mind two hundred times, and ends failing.
func storm() []told {
	const times = 100
	both := []told{
		reported("edge-01", "hello", 2, eventlog.PhaseRunning, "", ""),
		reported("edge-01", "hello", 2, eventlog.PhaseFailed, "CrashLoop", "it ended"),
	}
	return slices.Repeat(both, times)
}

func askedBy(user string, e told) told {
	d := e.payload.(eventlog.Deployment)
	d.RequestedBy = eventlog.Requester{Name: user, By: eventlog.RequestedByAdmission}
	e.payload = d
	return e
}

func late(by time.Duration, e told) told {
	s := e.payload.(eventlog.DeploymentState)
	s.LastEventAt = s.LastEventAt.Add(-by)
	e.payload = s
	return e
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, e := range story {
		if err := w.append(ctx, e); err != nil {
			return err
		}
	}
	select {
	case <-w.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *world) append(ctx context.Context, e told) error {
	a, err := eventlog.ParseSubject(e.subject)
	if err != nil {
		return err
	}
	if d, ok := e.payload.(eventlog.Draft); ok { // it has its envelope
		_, err = appender.Unfenced(ctx, w.js, "operator", d)
		return err
	}
	if a.Family.OfDevices() {
		data, ok := e.payload.([]byte)
		if !ok {
			if data, err = json.Marshal(e.payload); err != nil {
				return err
			}
		}
		if a.Family == eventlog.FamilyAgent { // there may be many
			_, err = w.js.PublishMsgAsync(&nats.Msg{
				Subject: e.subject, Data: data, Header: nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(e.kind, 1)}},
			}, jetstream.WithStallWait(time.Minute))
			return err
		}
		_, err = w.js.Publish(ctx, e.subject, data)
		return err
	}
	d, err := eventlog.NewDraft(e.subject, e.kind, time.Now(), e.payload)
	if err != nil {
		return err
	}
	if a.Family == eventlog.FamilyDeployment {
		if p, ok := e.payload.(eventlog.Deployment); ok {
			d.CorrelationID = a.Namespace + "/" + a.Name + "@" + strconv.FormatUint(p.Revision, 10)
		}
	}
	if a.Family == eventlog.FamilyCommand {
		d.Actor = "bob"
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
	_, err = appender.Unfenced(ctx, w.js, "operator", d)
	return err
}
