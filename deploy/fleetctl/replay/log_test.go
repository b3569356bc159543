package replay_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/replay"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/fleet"
)

// logOf is a real log with rounds of a rollout on ten devices, 13 events each.
func logOf(t *testing.T, rounds int) (jetstream.JetStream, logstream.Info) {
	t.Helper()
	_, js := natstest.Start(t).Connect(t)
	if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	say := func(d eventlog.Draft) {
		if _, err := js.PublishMsgAsync(d.Message("test", ""), jetstream.WithStallWait(30*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	tell := func(subject string, kind eventlog.Type, payload any) {
		d, err := eventlog.NewDraft(subject, kind, time.Now(), payload)
		if err != nil {
			t.Fatal(err)
		}
		say(d)
	}
	for r := range rounds {
		revision, b := uint64(r+1), score(fmt.Sprint("web:", r))
		name := []string{"hello", "other"}[r%2]
		subject := eventlog.DeploymentSubject("default", name)
		tell(subject, eventlog.DeploymentApplied, eventlog.Deployment{UID: "u", Revision: revision, Score: b, ScoreHash: eventlog.Hash(b)})
		tell(subject, eventlog.RolloutStarted, eventlog.Rollout{Revision: revision})
		for i := range 10 {
			say(eventlog.Draft{
				Subject: eventlog.DesiredSubject(fmt.Sprintf("edge-%02d", i), name), Type: eventlog.DesiredAssigned,
				Time: time.Now(), Namespace: "default", Revision: revision, Data: b,
			})
		}
		tell(eventlog.DeviceSubject("edge-00"), eventlog.DeviceOnline, eventlog.Presence{})
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		t.Fatal("the log takes too long")
	}
	info, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	return js, info
}

func all(eventlog.Event, error) bool { return true }

// drive gives a player what it wants of a source until it is where it was sent.
func drive(t *testing.T, p *replay.Player, source replay.Source) {
	t.Helper()
	for p.Busy() {
		if w, wants := p.Want(); wants && w.View {
			v, err := source.View(t.Context(), w.After)
			if err != nil {
				t.Fatal(err)
			}
			p.Enter(w, v)
		} else if wants {
			frames, end, err := source.Frames(t.Context(), w.After, replay.Chunk)
			if err != nil {
				t.Fatal(err)
			}
			p.Feed(w, frames, end)
		}
		p.Work()
		if p.Err() != nil {
			t.Fatal(p.Err())
		}
	}
}

func TestALogIsPlayedInWindows(t *testing.T) {
	t.Parallel()
	js, info := logOf(t, 800) // 10400 events: three windows
	source := &replay.Log{JS: js, ID: info.ID, First: info.First, Last: info.Last, RolloutSubjects: []string{eventlog.DeploymentSubject("*", "*")}, Sees: all}
	marks, err := source.Rollouts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(marks) != 800 || marks[0] != 2 || marks[799] != info.Last-11 {
		t.Errorf("%d rollouts, from %d to %d", len(marks), marks[0], marks[len(marks)-1])
	}
	p := replay.NewPlayer(replay.Range{Last: info.Last}, replay.Filter{}, fleet.New())
	p.Mark(marks)
	for _, to := range []uint64{info.Last, 5000, 4999, 9000, 1, 0, 8192} {
		p.Seek(to)
		drive(t, p, source)
		at, v := p.At()
		want, err := source.View(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		if at != to || !bytes.Equal(bytesOf(t, want), bytesOf(t, v)) {
			t.Errorf("sent to %d the player is at %d, and its view is that of the log there: %v", to, at, bytes.Equal(bytesOf(t, want), bytesOf(t, v)))
		}
	}
}

func TestAPartOfALogIsPlayed(t *testing.T) {
	t.Parallel()
	js, info := logOf(t, 20)
	source := &replay.Log{
		JS: js, ID: info.ID, First: info.First, Last: 100, Sees: all,
		Subjects:        []string{eventlog.DeploymentSubject("default", "hello")},
		RolloutSubjects: []string{eventlog.DeploymentSubject("default", "hello")},
	}
	frames, end, err := source.Frames(t.Context(), 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, f := range frames {
		got = append(got, f.Sequence)
	}
	if diff := cmp.Diff([]uint64{2, 27, 28}, got); diff != "" || end {
		t.Errorf("end %v, frames (-want +got):\n%s", end, diff)
	}
	if frames, end, err = source.Frames(t.Context(), 80, 30); err != nil || !end || len(frames) != 0 {
		t.Errorf("after the last: %d frames, end %v, %v", len(frames), end, err)
	}
	marks, err := source.Rollouts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{2, 28, 54, 80}, marks); diff != "" {
		t.Errorf("rollouts (-want +got):\n%s", diff)
	}
	p := replay.NewPlayer(replay.Range{First: 30, Last: 100, Sparse: true}, replay.Filter{Deployment: "hello"}, fleet.New())
	p.End()
	drive(t, p, source)
	if !p.Ended() {
		t.Error("the end of a part is not its end")
	}
}
