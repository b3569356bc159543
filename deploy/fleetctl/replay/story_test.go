package replay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/fleetctl/replay"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

var epoch = time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)

// story is a log in the making, and a source of it.
type story struct {
	t      testing.TB
	now    time.Time
	frames []replay.Frame
	seen   func(eventlog.Event) bool
	reads  int // how often frames were read
	folds  int // how often a view was folded
}

func newStory(t testing.TB) *story { return &story{t: t, now: epoch} }

// wait lets time pass before the next event.
func (s *story) wait(d time.Duration) { s.now = s.now.Add(d) }

func (s *story) draft(d eventlog.Draft) {
	m := d.Message("test", fmt.Sprintf("ID-%d", len(s.frames)+1))
	e, err := eventlog.Decode(m.Subject, m.Header, m.Data, uint64(len(s.frames)+1), s.now)
	s.frames = append(s.frames, replay.Frame{Event: e, Foreign: err, Seen: s.seen == nil || s.seen(e)})
}

func (s *story) tell(subject string, kind eventlog.Type, payload any) {
	s.t.Helper()
	d, err := eventlog.NewDraft(subject, kind, s.now, payload)
	if err != nil {
		s.t.Fatal(err)
	}
	s.draft(d)
}

func score(image string) json.RawMessage {
	return json.RawMessage(`{"data":{"services":[{"image":"` + image + `","name":"web"}]},"type":"PodmanV0"}`)
}

func (s *story) apply(name, image string, revision uint64) {
	b := score(image)
	s.tell(eventlog.DeploymentSubject("default", name), eventlog.DeploymentApplied,
		eventlog.Deployment{UID: name, Generation: int64(revision), Revision: revision, Score: b, ScoreHash: eventlog.Hash(b)})
}

func (s *story) rollout(name string, kind eventlog.Type, revision uint64, devices int) {
	s.tell(eventlog.DeploymentSubject("default", name), kind, eventlog.Rollout{Revision: revision, Kind: eventlog.RunImmediate, Strategy: "Immediate", Devices: devices})
}

func (s *story) assign(device, name, image string, revision uint64) {
	s.draft(eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, name), Type: eventlog.DesiredAssigned, Time: s.now,
		Namespace: "default", Revision: revision, Data: score(image),
	})
}

func (s *story) report(device, name string, phase eventlog.Phase, image string) {
	st := eventlog.DeploymentState{DeviceID: device, Deployment: name, Phase: phase, ScoreHash: eventlog.Hash(score(image)), LastEventAt: s.now}
	if phase == eventlog.PhaseFailed {
		text := "manifest unknown"
		st.LastError, st.Reason = &text, "ImagePullFailed"
	}
	s.tell(eventlog.StateSubject(device, name), eventlog.StateReported, st)
}

func (s *story) presence(device string, kind eventlog.Type) {
	s.tell(eventlog.DeviceSubject(device), kind, eventlog.Presence{Reason: "PulseHeard", LastSeen: s.now})
}

// small is a day of a fleet of four devices: a rollout, three hours without events, one
// that fails on one device, and a rollback.
func small(t testing.TB) *story {
	s := newStory(t)
	devices := []string{"edge-01", "edge-02", "edge-03", "edge-04"}
	s.tell(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "op-1", ClusterUID: "u", Version: "v1"})
	for _, d := range devices {
		s.wait(time.Second)
		s.presence(d, eventlog.DeviceOnline)
	}
	for revision, image := range []string{"", "web:1", "web:2", "web:1"} {
		if revision == 0 {
			continue
		}
		s.wait(3 * time.Hour)
		n := uint64(revision)
		s.apply("hello", image, n)
		s.rollout("hello", eventlog.RolloutStarted, n, len(devices))
		for _, d := range devices {
			s.assign(d, "hello", image, n)
		}
		for i, d := range devices {
			s.wait(10 * time.Second)
			phase := eventlog.PhaseRunning
			if revision == 2 && i == 2 {
				phase = eventlog.PhaseFailed
			}
			if revision == 2 && i == 3 {
				s.presence(d, eventlog.DeviceOffline)
				continue
			}
			s.report(d, "hello", phase, image)
		}
		s.rollout("hello", eventlog.RolloutCompleted, n, len(devices))
	}
	return s
}

// Frames, View and Rollouts make a source of the story.
func (s *story) Frames(_ context.Context, after uint64, most int) ([]replay.Frame, bool, error) {
	s.reads++
	i := sort.Search(len(s.frames), func(i int) bool { return s.frames[i].Sequence > after })
	n := min(most, len(s.frames)-i)
	return s.frames[i : i+n], i+n == len(s.frames), nil
}

func (s *story) View(_ context.Context, sequence uint64) (*fleet.View, error) {
	s.folds++
	return s.fold(sequence), nil
}

func (s *story) Rollouts(context.Context) ([]uint64, error) {
	var out []uint64
	for _, f := range s.frames {
		if f.Type == eventlog.RolloutStarted {
			out = append(out, f.Sequence)
		}
	}
	return out, nil
}

// fold is the brute force that a player is measured by.
func (s *story) fold(sequence uint64) *fleet.View {
	v := fleet.New()
	for _, f := range s.frames {
		if f.Sequence <= sequence {
			fleet.Apply(v, f.Event, f.Foreign)
		}
	}
	return v
}

// player plays the whole story.
func (s *story) player(subject replay.Filter) *replay.Player {
	p := replay.NewPlayer(replay.Range{Last: uint64(len(s.frames)), Began: s.frames[0].Recorded}, subject, fleet.New())
	marks, _ := s.Rollouts(s.t.Context())
	p.Mark(marks)
	p.SetSpeed(60)
	return p
}

// settle gives the player all that it wants, and lets it come to where it is on
// its way to.
func (s *story) settle(p *replay.Player) *replay.Player {
	s.t.Helper()
	for {
		w, wants := p.Want()
		switch {
		case wants && w.View:
			v, _ := s.View(s.t.Context(), w.After)
			p.Enter(w, v)
		case wants:
			frames, end, _ := s.Frames(s.t.Context(), w.After, replay.Chunk)
			p.Feed(w, frames, end)
		}
		worked := p.Work()
		if p.Err() != nil {
			s.t.Fatal(p.Err())
		}
		if !wants && !worked {
			return p
		}
	}
}
