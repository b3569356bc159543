package history_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/history"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// tale is a log in the making, with the messages that real writers make; each
// call is a second later.
type tale struct {
	t      testing.TB
	events []eventlog.Event
	errs   []error
	score  map[fleet.Key]json.RawMessage // the last applied
}

func newTale(t testing.TB) *tale { return &tale{t: t, score: map[fleet.Key]json.RawMessage{}} }

func key(ns, name string) fleet.Key { return fleet.Key{Namespace: ns, Name: name} }

func (w *tale) now() time.Time { return noon.Add(time.Duration(len(w.events)+1) * time.Second) }

func id(seq uint64) string { return fmt.Sprintf("ID-%d", seq) }

func (w *tale) message(m *nats.Msg) uint64 {
	seq := uint64(len(w.events) + 1)
	e, err := eventlog.Decode(m.Subject, m.Header, m.Data, seq, w.now())
	w.events, w.errs = append(w.events, e), append(w.errs, err)
	return seq
}

func (w *tale) say(subject string, kind eventlog.Type, payload any, change ...func(*eventlog.Draft)) uint64 {
	w.t.Helper()
	d, err := eventlog.NewDraft(subject, kind, w.now(), payload)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range change {
		c(&d)
	}
	return w.message(d.Message("test", id(uint64(len(w.events)+1))))
}

func causedBy(seq uint64) func(*eventlog.Draft) {
	return func(d *eventlog.Draft) { d.CausationID = id(seq) }
}

func by(user string) func(*eventlog.Draft) { return func(d *eventlog.Draft) { d.Actor = user } }

// podman is a score of one service, with more of its fields if given.
func podman(image string, more ...string) json.RawMessage {
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

func lab() eventlog.Selector {
	return eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}}
}

func (w *tale) apply(k fleet.Key, revision uint64, score json.RawMessage, change ...func(*eventlog.Deployment)) uint64 {
	w.t.Helper()
	d := eventlog.Deployment{
		UID: "u-" + k.Name, Generation: int64(revision), Revision: revision, Selector: lab(), Score: score, ScoreHash: eventlog.Hash(score),
		Rollout:     json.RawMessage(`{"strategy":"Immediate"}`),
		RequestedBy: eventlog.Requester{Name: "zoë@shop.example", By: eventlog.RequestedByAdmission},
	}
	for _, c := range change {
		c(&d)
	}
	w.score[k] = d.Score
	return w.say(eventlog.DeploymentSubject(k.Namespace, k.Name), eventlog.DeploymentApplied, d)
}

func (w *tale) rollout(k fleet.Key, kind eventlog.Type, revision uint64, devices int) uint64 {
	w.t.Helper()
	return w.say(eventlog.DeploymentSubject(k.Namespace, k.Name), kind, eventlog.Rollout{Revision: revision, Strategy: "Immediate", Devices: devices})
}

func (w *tale) end(k fleet.Key, kind eventlog.Type, reason string, change ...func(*eventlog.Draft)) uint64 {
	w.t.Helper()
	return w.say(eventlog.DeploymentSubject(k.Namespace, k.Name), kind, eventlog.DeploymentEnd{Reason: reason}, change...)
}

func (w *tale) assign(device string, k fleet.Key, revision, cause uint64) uint64 {
	return w.message(eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, k.Name), Type: eventlog.DesiredAssigned, Time: w.now(),
		Namespace: k.Namespace, Revision: revision, Data: w.score[k], CausationID: id(cause),
	}.Message("test", id(uint64(len(w.events)+1))))
}

func (w *tale) withdraw(device string, k fleet.Key, cause uint64) uint64 {
	return w.message(eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, k.Name), Type: eventlog.DesiredWithdrawn, Time: w.now(),
		Namespace: k.Namespace, CausationID: id(cause),
	}.Message("test", id(uint64(len(w.events)+1))))
}

// report is what an agent sends of what the log last assigned to it under the
// name; a failing one has an error.
func (w *tale) report(device string, k fleet.Key, phase eventlog.Phase, reason string, revision uint64) uint64 {
	w.t.Helper()
	return w.state(device, k, eventlog.DeploymentState{Phase: phase, Reason: reason, Revision: revision})
}

// failing is a report of revision 1 with an error.
func (w *tale) failing(device string, k fleet.Key, reason, text string) uint64 {
	w.t.Helper()
	return w.state(device, k, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: reason, Revision: 1, LastError: &text})
}

func (w *tale) state(device string, k fleet.Key, s eventlog.DeploymentState) uint64 {
	w.t.Helper()
	s.DeviceID, s.Deployment = device, k.Name
	if s.LastEventAt.IsZero() {
		s.LastEventAt = w.now()
	}
	if score := w.score[k]; score != nil && s.Revision > 0 {
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
	return w.message(&nats.Msg{Subject: eventlog.StateSubject(device, k.Name), Data: b})
}

func (w *tale) cleared(device string, k fleet.Key) uint64 {
	return w.say(eventlog.StateSubject(device, k.Name), eventlog.StateCleared, nil)
}

func (w *tale) step(device string, k fleet.Key, kind eventlog.Type, s eventlog.Step) uint64 {
	w.t.Helper()
	s.Deployment, s.Service = k.Name, "web"
	return w.say(eventlog.AgentSubject(device), kind, s)
}

// device registers a device with labels: its own, but for those that name another
// owner after a slash.
func (w *tale) device(device string, labels map[string]string) uint64 {
	w.t.Helper()
	b, err := json.Marshal(eventlog.DeviceInfo{DeviceID: device, Labels: labels, Inventory: eventlog.Inventory{OS: "Debian", AgentVersion: "v1"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.message(&nats.Msg{Subject: eventlog.InfoSubject(device), Data: b})
	w.say(eventlog.DeviceSubject(device), eventlog.DeviceRegistered, eventlog.Registration{AgentVersion: "v1"})
	return w.label(device, labels, eventlog.OwnerDevice)
}

func (w *tale) label(device string, labels map[string]string, owner string) uint64 {
	w.t.Helper()
	owned := map[string]eventlog.OwnedLabel{}
	for k, v := range labels {
		owned[k] = eventlog.OwnedLabel{Value: v, Owner: owner}
	}
	return w.say(eventlog.DeviceSubject(device), eventlog.DeviceRelabeled, eventlog.Labels{Labels: owned})
}

func (w *tale) online(device string) uint64 {
	w.t.Helper()
	return w.say(eventlog.DeviceSubject(device), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseReceived", LastSeen: w.now()})
}

func (w *tale) offline(device string) uint64 {
	w.t.Helper()
	return w.say(eventlog.DeviceSubject(device), eventlog.DeviceOffline, eventlog.Presence{Reason: "PulseMissed", LastSeen: w.now().Add(-100 * time.Second), Timeout: 90})
}

// log gives the events as reading gives them.
func (w *tale) log() iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		for i, e := range w.events {
			if !yield(e, w.errs[i]) {
				return
			}
		}
	}
}

func (w *tale) history(k fleet.Key, o ...history.Options) *history.History {
	w.t.Helper()
	h, err := history.OfDeployment(w.log(), k, append(o, history.Options{})[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *tale) diary(device string, o ...history.Options) *history.History {
	w.t.Helper()
	h, err := history.OfDevice(w.log(), device, append(o, history.Options{})[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *tale) explain(device string, k fleet.Key, o ...history.Options) *history.Explanation {
	w.t.Helper()
	e, err := history.Explain(w.log(), history.Question{Device: device, Deployment: k}, append(o, history.Options{})[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

var errBroken = errors.New("the connection broke")

// broken gives the events, and then that the connection broke.
func (w *tale) broken() iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		for i, e := range w.events {
			if !yield(e, w.errs[i]) {
				return
			}
		}
		yield(eventlog.Event{}, errBroken)
	}
}

// leaves decommissions a device, as a person asked, with what the operator says.
func (w *tale) leaves(device string, k fleet.Key) {
	asked := w.say(eventlog.DeviceRequestSubject("alice", device), eventlog.RequestMade,
		eventlog.Request{Verb: eventlog.RequestDecommission, Reason: "sold"})
	w.withdraw(device, k, asked)
	w.cleared(device, k)
	w.say(eventlog.DeviceSubject(device), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Requested"}, by("alice"))
}

func (w *tale) allowed(device string) {
	w.say(eventlog.AccessSubject(device), eventlog.AccessAllowed, eventlog.Access{Reason: "Requested"}, by("bob"))
}

// fieldsText are changes in a line each.
func fieldsText(fields []history.Field) []string {
	var out []string
	for _, f := range fields {
		out = append(out, fmt.Sprintf("%s: %s → %s", f.Path, history.ValueText(f.Before), history.ValueText(f.After)))
	}
	return out
}

// till is the Deployment of most of the stories.
var till = key("shop", "till")
