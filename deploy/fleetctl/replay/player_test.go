package replay_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/deploy/fleetctl/replay"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

func bytesOf(t testing.TB, v *fleet.View) []byte {
	t.Helper()
	b, err := fleet.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func isFoldOf(t testing.TB, s *story, p *replay.Player) {
	t.Helper()
	at, v := p.At()
	if !bytes.Equal(bytesOf(t, s.fold(at)), bytesOf(t, v)) {
		t.Fatalf("at %d the player's view is not the fold from zero", at)
	}
}

// Whatever keys a person presses, the view is the fold of the log up to there.
func TestWhereverThePlayerIsTheViewIsTheFoldFromZero(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := small(t)
		p := s.player(replay.Filter{})
		for range rapid.IntRange(1, 30).Draw(rt, "keys") {
			switch key := rapid.SampledFrom([]string{"→", "←", "n", "p", "home", "end", "seek", "time", "+", "-"}).Draw(rt, "key"); key {
			case "→":
				p.Step()
			case "←":
				p.Back()
			case "n", "p":
				p.Rollout(key == "n")
			case "home":
				p.Home()
			case "end":
				p.End()
			case "seek":
				p.Seek(rapid.Uint64Range(0, 60).Draw(rt, "to"))
			case "time":
				p.Advance(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "ms")) * time.Millisecond)
			case "+":
				p.SetSpeed(3600)
			case "-":
				p.SetSpeed(1)
			}
			if rapid.Bool().Draw(rt, "settled") {
				s.settle(p)
			}
			isFoldOf(t, s, p)
		}
	})
}

func TestAStepBackUndoesAStep(t *testing.T) {
	t.Parallel()
	s := small(t)
	p := s.settle(s.player(replay.Filter{}))
	for want := uint64(1); want <= uint64(len(s.frames)); want++ {
		p.Step()
		if at, _ := s.settle(p).At(); at != want {
			t.Fatalf("a step went to %d, want %d", at, want)
		}
	}
	p.Step()
	if s.settle(p); !p.Ended() {
		t.Error("after the last event it is not the end")
	}
	for want := len(s.frames) - 1; want >= 0; want-- {
		p.Back()
		if at, _ := s.settle(p).At(); at != uint64(want) {
			t.Fatalf("a step back went to %d, want %d", at, want)
		}
		isFoldOf(t, s, p)
	}
	p.Back()
	if at, _ := s.settle(p).At(); at != 0 {
		t.Errorf("before the beginning there is %d", at)
	}
}

func TestRolloutsAreGoneToForthAndBack(t *testing.T) {
	t.Parallel()
	s := small(t)
	p := s.settle(s.player(replay.Filter{}))
	var got []string
	for range 4 {
		found := p.Rollout(true)
		at, _ := s.settle(p).At()
		got = append(got, fmt.Sprint(found, at))
	}
	p.Step()
	s.settle(p)
	for range 4 {
		found := p.Rollout(false)
		at, _ := s.settle(p).At()
		got = append(got, fmt.Sprint(found, at))
	}
	want := []string{"true 7", "true 18", "true 29", "false 29", "true 29", "true 18", "true 7", "false 7"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rollouts (-want +got):\n%s", diff)
	}
}

// A minute of history a second; three hours without an event take no time.
func TestTimePassesAtTheSpeedAndGapsAreSkipped(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	for _, gap := range []time.Duration{0, 30 * time.Second, 30 * time.Second, 3 * time.Hour, 119 * time.Second} {
		s.wait(gap)
		s.presence("edge-01", eventlog.DeviceOnline)
	}
	p := s.settle(s.player(replay.Filter{}))
	var got []uint64
	for range 10 {
		p.Advance(250 * time.Millisecond) // 15 s of history
		at, _ := p.At()
		got = append(got, at)
	}
	if diff := cmp.Diff([]uint64{1, 2, 2, 4, 4, 4, 4, 4, 4, 4}, got); diff != "" {
		t.Errorf("played after each quarter of a second (-want +got):\n%s", diff)
	}
	p.Advance(time.Second)
	if at, _ := p.At(); at != 5 || !p.Ended() {
		t.Errorf("at %d, ended %v", at, p.Ended())
	}
	p.Home()
	s.settle(p)
	p.Pause(true)
	if p.Advance(time.Hour); p.Seconds() != 0 {
		t.Errorf("time passed while it stood: %v s", p.Seconds())
	}
	p.Pause(false)
	p.SetSpeed(replay.SpeedMax)
	if p.Advance(0); !p.Ended() {
		t.Error("at the greatest speed something was waited for")
	}
}

func TestWhatIsNotSeenIsFoldedAndPassedOver(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.seen = func(e eventlog.Event) bool { return e.Address.Family != eventlog.FamilyDevice }
	s.apply("hello", "web:1", 1)
	for range 5 {
		s.wait(time.Hour)
		s.presence("edge-01", eventlog.DeviceOffline)
	}
	s.wait(time.Second)
	s.assign("edge-01", "hello", "web:1", 1)
	p := s.settle(s.player(replay.Filter{Deployment: "hello"}))
	p.Step()
	s.settle(p)
	p.Step()
	if at, _ := s.settle(p).At(); at != 7 {
		t.Errorf("the second step went to %d, want 7: the next that is seen", at)
	}
	p.Back()
	if at, _ := s.settle(p).At(); at != 6 {
		t.Errorf("the step back went to %d, want 6: just before", at)
	}
	isFoldOf(t, s, p)
}

// A log far larger than what is held in memory, played, gone to the end of, and
// back through.
func TestALongLogIsHeldInWindows(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	const events = 90_000
	for i := range events {
		s.presence(fmt.Sprintf("d-%03d", i%300), eventlog.DeviceOnline)
	}
	p := s.player(replay.Filter{})
	s.settle(p)
	p.End()
	s.settle(p)
	if s.folds != 1 {
		t.Errorf("the end was reached by %d folds of the source's, want 1", s.folds)
	}
	reads := s.reads
	for range 200 {
		p.Back()
		s.settle(p)
	}
	if at, _ := p.At(); at != events-200 {
		t.Errorf("200 steps back went to %d", at)
	}
	if s.reads > reads {
		t.Errorf("200 steps back read the log %d times", s.reads-reads)
	}
	isFoldOf(t, s, p)
	p.Home()
	s.settle(p)
	p.SetSpeed(replay.SpeedMax)
	for !p.Ended() {
		p.Advance(0)
		s.settle(p)
	}
	if frames, bytes := p.Held(); frames > 5*replay.Chunk || bytes > 160<<20 {
		t.Errorf("%d frames and %d bytes of snapshots are held", frames, bytes)
	}
	p.Seek(50_001)
	s.settle(p)
	isFoldOf(t, s, p)
}

// What is read for somewhere that the person has left meanwhile changes nothing.
func TestLateAnswersAreIgnored(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	for range 70_000 {
		s.presence("edge-01", eventlog.DeviceOnline)
	}
	p := s.settle(s.player(replay.Filter{}))
	p.End()
	far, wants := p.Want()
	if !wants || !far.View {
		t.Fatalf("the far end is not asked of the source: %+v", far)
	}
	p.Home()
	v, _ := s.View(t.Context(), far.After)
	p.Enter(far, v)
	if at, _ := s.settle(p).At(); at != 0 {
		t.Errorf("a view that came late moved the player to %d", at)
	}
}
