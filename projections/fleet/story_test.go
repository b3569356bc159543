package fleet_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

var epoch = time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)

// story is a log in the making: each call appends what a real writer would.
type story struct {
	t      testing.TB
	events []recordedEvent

	happens  time.Time // what writers say; epoch if zero
	recorded time.Time // by the log; a second after the other for each message if zero
}

func (s *story) now() time.Time {
	if s.happens.IsZero() {
		return epoch
	}
	return s.happens
}

type recordedEvent struct {
	eventlog.Event
	err error
}

func (s *story) add(m *nats.Msg) uint64 {
	seq := uint64(len(s.events) + 1)
	at := s.recorded
	if at.IsZero() {
		at = epoch.Add(time.Duration(seq) * time.Second)
	}
	e, err := eventlog.Decode(m.Subject, m.Header, m.Data, seq, at)
	s.events = append(s.events, recordedEvent{e, err})
	return seq
}

func (s *story) draft(subject string, typ eventlog.Type, payload any) uint64 {
	d, err := eventlog.NewDraft(subject, typ, s.now(), payload)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.add(d.Message("test", fmt.Sprintf("ID-%d", len(s.events)+1)))
}

func score(image string) []byte {
	b, err := eventlog.Score{Type: "PodmanV0", Data: json.RawMessage(`{"services":[{"name":"web","image":"` + image + `"}]}`)}.Canonical()
	if err != nil {
		panic(err)
	}
	return b
}

func (s *story) apply(ns, name, image string, revision uint64) uint64 {
	b := score(image)
	return s.draft(eventlog.DeploymentSubject(ns, name), eventlog.DeploymentApplied, eventlog.Deployment{
		UID: "uid-" + name, Generation: int64(revision), Revision: revision, Score: b, ScoreHash: eventlog.Hash(b),
	})
}

func (s *story) assign(device, ns, name, image string, revision uint64) uint64 {
	d := eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, name), Type: eventlog.DesiredAssigned, Time: s.now(),
		Namespace: ns, Revision: revision, Data: score(image),
	}
	return s.add(d.Message("test", fmt.Sprintf("ID-%d", len(s.events)+1)))
}

// render assigns what a template came to on the device.
func (s *story) render(device, ns, name, image, template string, revision uint64) uint64 {
	d := eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, name), Type: eventlog.DesiredAssigned, Time: s.now(),
		Namespace: ns, Revision: revision, Template: template, Data: score(image),
	}
	return s.add(d.Message("test", fmt.Sprintf("ID-%d", len(s.events)+1)))
}

func (s *story) withdraw(device, ns, name string) uint64 {
	d := eventlog.Draft{Subject: eventlog.DesiredSubject(device, name), Type: eventlog.DesiredWithdrawn, Time: s.now(), Namespace: ns}
	return s.add(d.Message("test", fmt.Sprintf("ID-%d", len(s.events)+1)))
}

// report is what an agent sends; counter may be empty, as of a plain KV client.
func (s *story) report(device, name string, phase eventlog.Phase, hash, counter string) uint64 {
	st := eventlog.DeploymentState{DeviceID: device, Deployment: name, Phase: phase, ScoreHash: hash, LastEventAt: s.now()}
	if phase == eventlog.PhaseFailed {
		msg := "image not found on " + device
		st.LastError, st.Reason = &msg, "ImagePullFailed"
	}
	b, err := json.Marshal(st)
	if err != nil {
		s.t.Fatal(err)
	}
	m := &nats.Msg{Subject: eventlog.StateSubject(device, name), Data: b, Header: nats.Header{}}
	if counter != "" {
		m.Header.Set(eventlog.HeaderCounter, counter)
	}
	return s.add(m)
}

// speak reports that a score runs, in the words of an agent which says of what
// revision and assignment it speaks.
func (s *story) speak(device, name, hash string, revision, assignment uint64) uint64 {
	b, err := json.Marshal(eventlog.DeploymentState{
		DeviceID: device, Deployment: name, Phase: eventlog.PhaseRunning, ScoreHash: hash, Revision: revision, Assignment: assignment, LastEventAt: s.now(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.add(&nats.Msg{Subject: eventlog.StateSubject(device, name), Data: b})
}

func (s *story) info(device string, labels map[string]string) uint64 {
	i := eventlog.DeviceInfo{
		DeviceID: device, Labels: labels, UpdatedAt: s.now(), KeyExpires: s.now().AddDate(2, 0, 0),
		Inventory: eventlog.Inventory{Hostname: device + ".local", Arch: "arm64", OS: "linux", Kernel: "6.1", CPUCores: 4, MemoryMB: 3906, AgentVersion: "1.0", PodmanVersion: "4.3.1"},
	}
	b, err := json.Marshal(i)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.add(&nats.Msg{Subject: eventlog.InfoSubject(device), Data: b})
}

func (s *story) relabel(device string, labels map[string]eventlog.OwnedLabel) uint64 {
	return s.draft(eventlog.DeviceSubject(device), eventlog.DeviceRelabeled, eventlog.Labels{Labels: labels})
}

func (s *story) presence(device string, typ eventlog.Type) uint64 {
	return s.draft(eventlog.DeviceSubject(device), typ, eventlog.Presence{Reason: "Test", LastSeen: s.now()})
}

func (s *story) fold(v *fleet.View) *fleet.View {
	for _, e := range s.events {
		v = fleet.Apply(v, e.Event, e.err)
	}
	return v
}
