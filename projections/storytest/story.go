// Package storytest makes event logs for tests: each call appends the message that a
// real writer would, a second later.
package storytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
	"fleet.nationtech.io/projections/viewdiff"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// Story is a log in the making, with the messages that real writers make; each
// call is a second later.
type Story struct {
	t      testing.TB
	Events []eventlog.Event
	Errs   []error
	Score  map[fleet.Key]json.RawMessage // the last applied
	runs   map[fleet.Key]uint64          // the last started
	waited time.Duration
}

// New begins a story without an event.
func New(t testing.TB) *Story {
	return &Story{t: t, Score: map[fleet.Key]json.RawMessage{}, runs: map[fleet.Key]uint64{}}
}

// Key is that of a Deployment.
func Key(ns, name string) fleet.Key { return fleet.Key{Namespace: ns, Name: name} }

// Now is when the next event happens.
func (w *Story) Now() time.Time {
	return noon.Add(w.waited).Add(time.Duration(len(w.Events)+1) * time.Second)
}

// Wait lets time pass before the next event.
func (w *Story) Wait(d time.Duration) { w.waited += d }

// ID is the id of the event at a sequence.
func ID(seq uint64) string { return fmt.Sprintf("ID-%d", seq) }

// Message appends a message and gives its sequence.
func (w *Story) Message(m *nats.Msg) uint64 {
	seq := uint64(len(w.Events) + 1)
	e, err := eventlog.Decode(m.Subject, m.Header, m.Data, seq, w.Now())
	w.Events, w.Errs = append(w.Events, e), append(w.Errs, err)
	return seq
}

// Say appends an event with a payload and gives its sequence.
func (w *Story) Say(subject string, kind eventlog.Type, payload any, change ...func(*eventlog.Draft)) uint64 {
	w.t.Helper()
	d, err := eventlog.NewDraft(subject, kind, w.Now(), payload)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range change {
		c(&d)
	}
	return w.Message(d.Message("test", ID(uint64(len(w.Events)+1))))
}

// CausedBy gives a draft the event at a sequence for its cause.
func CausedBy(seq uint64) func(*eventlog.Draft) {
	return func(d *eventlog.Draft) { d.CausationID = ID(seq) }
}

// By gives a draft a person as its actor.
func By(user string) func(*eventlog.Draft) { return func(d *eventlog.Draft) { d.Actor = user } }

// Podman is a score of one service, with more of its fields if given.
func Podman(image string, more ...string) json.RawMessage {
	extra := ""
	for _, m := range more {
		extra += "," + m
	}
	b, err := eventlog.Score{Type: "PodmanV0", Data: json.RawMessage(`{"services":[{"name":"web","image":"` + image + `"` + extra + `}]}`)}.Canonical()
	if err != nil {
		panic(err)
	}
	return b
}

// Lab selects the devices of site lab.
func Lab() eventlog.Selector {
	return eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}}
}

// Apply records that a person applied a Deployment, which selects Lab.
func (w *Story) Apply(k fleet.Key, revision uint64, score json.RawMessage, change ...func(*eventlog.Deployment)) uint64 {
	w.t.Helper()
	d := eventlog.Deployment{
		UID: "u-" + k.Name, Generation: int64(revision), Revision: revision, Selector: Lab(), Score: score, ScoreHash: eventlog.Hash(score),
		Rollout:     json.RawMessage(`{"strategy":"Immediate"}`),
		RequestedBy: eventlog.Requester{Name: "zoë@shop.example", By: eventlog.RequestedByAdmission},
	}
	for _, c := range change {
		c(&d)
	}
	w.Score[k] = d.Score
	return w.Say(eventlog.DeploymentSubject(k.Namespace, k.Name), eventlog.DeploymentApplied, d)
}

// Rollout appends an event of a rollout that goes to all devices at once.
func (w *Story) Rollout(k fleet.Key, kind eventlog.Type, revision uint64, devices int) uint64 {
	w.t.Helper()
	return w.Run(k, kind, eventlog.Rollout{Revision: revision, Kind: eventlog.RunImmediate, Strategy: "Immediate", Devices: devices})
}

// Run appends an event of a run, whose number is filled in.
func (w *Story) Run(k fleet.Key, kind eventlog.Type, r eventlog.Rollout, change ...func(*eventlog.Draft)) uint64 {
	w.t.Helper()
	if kind != eventlog.RolloutStarted {
		r.Run = w.runs[k]
	} else {
		w.runs[k] = uint64(len(w.Events) + 1)
	}
	return w.Say(eventlog.DeploymentSubject(k.Namespace, k.Name), kind, r, change...)
}

// Batched is spec.rollout of two batches: the devices of zone a, then the rest. A person
// lets it go on after the first.
func Batched(d *eventlog.Deployment) {
	d.Rollout = json.RawMessage(`{"strategy":"Batched","batches":[{"selector":{"matchLabels":{"zone":"a"}},"soak":"5m0s","approval":"Manual"},{"soak":"1m0s"}]}`)
}

// Start appends the start of a run in the batches of Batched.
func (w *Story) Start(k fleet.Key, revision uint64, devices int) uint64 {
	w.t.Helper()
	return w.Run(k, eventlog.RolloutStarted, eventlog.Rollout{
		Revision: revision, ScoreHash: eventlog.Hash(w.Score[k]), Kind: eventlog.RunUpdate, Strategy: "Batched", Devices: devices, Online: devices, Reason: "Applied",
		Batches: []eventlog.PlannedBatch{{Pinned: true, Size: 1}, {Cut: 1<<64 - 1, Size: devices - 1}},
	})
}

// Ask appends what a person asks of a Deployment's rollout, as it is now.
func (w *Story) Ask(user string, k fleet.Key, r eventlog.Request) uint64 {
	w.t.Helper()
	r.Run = w.runs[k]
	return w.Say(eventlog.RequestSubject(user, k.Namespace, k.Name), eventlog.RequestMade, r)
}

// End appends the end of a Deployment: deleted, or orphaned.
func (w *Story) End(k fleet.Key, kind eventlog.Type, reason string, change ...func(*eventlog.Draft)) uint64 {
	w.t.Helper()
	return w.Say(eventlog.DeploymentSubject(k.Namespace, k.Name), kind, eventlog.DeploymentEnd{Reason: reason}, change...)
}

// Assign assigns the score that was applied last to a device.
func (w *Story) Assign(device string, k fleet.Key, revision, cause uint64) uint64 {
	return w.Message(eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, k.Name), Type: eventlog.DesiredAssigned, Time: w.Now(),
		Namespace: k.Namespace, Revision: revision, Data: w.Score[k], CausationID: ID(cause),
	}.Message("test", ID(uint64(len(w.Events)+1))))
}

// Give assigns it in a batch.
func (w *Story) Give(device string, k fleet.Key, revision uint64, batch int, cause uint64) uint64 {
	return w.Message(eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, k.Name), Type: eventlog.DesiredAssigned, Time: w.Now(),
		Namespace: k.Namespace, Revision: revision, Batch: batch, Data: w.Score[k], CausationID: ID(cause),
	}.Message("test", ID(uint64(len(w.Events)+1))))
}

// Withdraw takes a Deployment off a device.
func (w *Story) Withdraw(device string, k fleet.Key, cause uint64) uint64 {
	return w.Message(eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, k.Name), Type: eventlog.DesiredWithdrawn, Time: w.Now(),
		Namespace: k.Namespace, CausationID: ID(cause),
	}.Message("test", ID(uint64(len(w.Events)+1))))
}

// Report is what an agent sends of what the log last assigned to it under the
// name; a failing one has an error.
func (w *Story) Report(device string, k fleet.Key, phase eventlog.Phase, reason string, revision uint64) uint64 {
	w.t.Helper()
	return w.State(device, k, eventlog.DeploymentState{Phase: phase, Reason: reason, Revision: revision})
}

// Failing is a report of revision 1 with an error.
func (w *Story) Failing(device string, k fleet.Key, reason, text string) uint64 {
	w.t.Helper()
	return w.State(device, k, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: reason, Revision: 1, LastError: &text})
}

// State is a report, as an agent sends it; what it leaves out is filled in.
func (w *Story) State(device string, k fleet.Key, s eventlog.DeploymentState) uint64 {
	w.t.Helper()
	s.DeviceID, s.Deployment = device, k.Name
	if s.LastEventAt.IsZero() {
		s.LastEventAt = w.Now()
	}
	if score := w.Score[k]; score != nil && s.Revision > 0 {
		s.ScoreHash = eventlog.Hash(score)
	}
	if s.Phase == eventlog.PhaseFailed && s.LastError == nil {
		text := "Größe überschritten: 日本 → ☠"
		s.LastError = &text
	}
	b, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.Message(&nats.Msg{Subject: eventlog.StateSubject(device, k.Name), Data: b})
}

// Cleared is what an agent sends of a Deployment that it has removed.
func (w *Story) Cleared(device string, k fleet.Key) uint64 {
	return w.Say(eventlog.StateSubject(device, k.Name), eventlog.StateCleared, nil)
}

// Step is what an agent tells of one step of its work on the service web.
func (w *Story) Step(device string, k fleet.Key, kind eventlog.Type, s eventlog.Step) uint64 {
	w.t.Helper()
	s.Deployment, s.Service = k.Name, "web"
	return w.Say(eventlog.AgentSubject(device), kind, s)
}

// Device registers a device with labels: its own, but for those that name another
// owner after a slash.
func (w *Story) Device(device string, labels map[string]string) uint64 {
	w.t.Helper()
	b, err := json.Marshal(eventlog.DeviceInfo{DeviceID: device, Labels: labels, Inventory: eventlog.Inventory{OS: "Debian", AgentVersion: "v1"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Message(&nats.Msg{Subject: eventlog.InfoSubject(device), Data: b})
	w.Say(eventlog.DeviceSubject(device), eventlog.DeviceRegistered, eventlog.Registration{AgentVersion: "v1"})
	return w.Label(device, labels, eventlog.OwnerDevice)
}

// Label records the labels of a device, all of one owner.
func (w *Story) Label(device string, labels map[string]string, owner string) uint64 {
	w.t.Helper()
	owned := map[string]eventlog.OwnedLabel{}
	for k, v := range labels {
		owned[k] = eventlog.OwnedLabel{Value: v, Owner: owner}
	}
	return w.Say(eventlog.DeviceSubject(device), eventlog.DeviceRelabeled, eventlog.Labels{Labels: owned})
}

// Online records that a device went online.
func (w *Story) Online(device string) uint64 {
	w.t.Helper()
	return w.Say(eventlog.DeviceSubject(device), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseReceived", LastSeen: w.Now()})
}

// Offline records that a device went offline.
func (w *Story) Offline(device string) uint64 {
	w.t.Helper()
	return w.Say(eventlog.DeviceSubject(device), eventlog.DeviceOffline, eventlog.Presence{Reason: "PulseMissed", LastSeen: w.Now().Add(-100 * time.Second), Timeout: 90})
}

// Log gives the events as reading gives them.
func (w *Story) Log() iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		for i, e := range w.Events {
			if !yield(e, w.Errs[i]) {
				return
			}
		}
	}
}

// DeploymentHistory is the timeline of a Deployment.
func (w *Story) DeploymentHistory(k fleet.Key, o ...timeline.Options) *timeline.History {
	w.t.Helper()
	h, err := timeline.OfDeployment(w.Log(), k, append(o, timeline.Options{})[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// DeviceHistory is the timeline of a device.
func (w *Story) DeviceHistory(device string, o ...timeline.Options) *timeline.History {
	w.t.Helper()
	h, err := timeline.OfDevice(w.Log(), device, append(o, timeline.Options{})[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// Explain answers why a Deployment is, or is not, on a device.
func (w *Story) Explain(device string, k fleet.Key, o ...timeline.Options) *explain.Explanation {
	w.t.Helper()
	options := append(o, timeline.Options{})[0]
	q := explain.Question{Device: device, Deployment: k, At: w.Events[len(w.Events)-1].Recorded, Fleet: func() (*fleet.View, error) { return w.Fleet(options), nil }}
	e, err := explain.Answer(w.Log(), q, options)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// Fleet is the whole fleet, on the axis of the options.
func (w *Story) Fleet(o timeline.Options) *fleet.View {
	v, happened := fleet.New(), fleet.NewEventTimeView(o.Until)
	for e, err := range w.Log() {
		if o.AsHappened {
			happened.Add(e, err)
		} else {
			fleet.Apply(v, e, err)
		}
	}
	if o.AsHappened {
		return happened.View()
	}
	return v
}

// ErrBroken is the error with which Broken ends.
var ErrBroken = errors.New("the connection broke")

// Broken gives the events, and then that the connection broke.
func (w *Story) Broken() iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		for i, e := range w.Events {
			if !yield(e, w.Errs[i]) {
				return
			}
		}
		yield(eventlog.Event{}, ErrBroken)
	}
}

// Leaves decommissions a device, as a person asked, with what the operator says.
func (w *Story) Leaves(device string, k fleet.Key) {
	asked := w.Say(eventlog.DeviceRequestSubject("alice", device), eventlog.RequestMade,
		eventlog.Request{Verb: eventlog.RequestDecommission, Reason: "sold"})
	w.Withdraw(device, k, asked)
	w.Cleared(device, k)
	w.Say(eventlog.DeviceSubject(device), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Requested"}, By("alice"))
}

// Allowed records that a person let a device in again.
func (w *Story) Allowed(device string) {
	w.Say(eventlog.AccessSubject(device), eventlog.AccessAllowed, eventlog.Access{Reason: "Requested"}, By("bob"))
}

// FieldsText are changes in a line each.
func FieldsText(fields []viewdiff.Field) []string {
	var out []string
	for _, f := range fields {
		out = append(out, fmt.Sprintf("%s: %s → %s", f.Path, viewdiff.ValueText(f.Before), viewdiff.ValueText(f.After)))
	}
	return out
}

// Till is the Deployment of most of the stories.
var Till = Key("shop", "till")
