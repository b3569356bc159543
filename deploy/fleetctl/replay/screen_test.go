package replay_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/fleetctl/replay"
	"fleet.nationtech.io/eventlog"
)

var update = flag.Bool("update", false, "write the golden frames again")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got+"\n"); diff != "" {
		t.Errorf("%s (-want +got; -update writes it again):\n%s", name, diff)
	}
}

func line(f replay.Frame) string {
	return f.Recorded.UTC().Format(time.TimeOnly) + fmt.Sprintf(" %5d %-18s %s", f.Sequence, f.Type, f.Address.Device+f.Address.Name)
}

func screen(w, h int) replay.Screen { return replay.Screen{Width: w, Height: h, Line: line} }

func TestGoldenFrames(t *testing.T) {
	t.Parallel()
	s := small(t)
	at := func(sequence uint64) *replay.Player {
		p := s.settle(s.player(replay.Filter{}))
		p.Seek(sequence)
		s.settle(p).Refresh()
		return p
	}
	paused := at(25)
	paused.Pause(true)
	for name, c := range map[string]struct {
		player *replay.Player
		screen replay.Screen
	}{
		"beginning-80x24.txt": {at(0), screen(80, 24)},
		"rollout-80x24.txt":   {at(9), screen(80, 24)},
		"failing-80x24.txt":   {paused, screen(80, 24)},
		"end-80x24.txt":       {at(1000), screen(80, 24)},
		"failing-40x10.txt":   {at(25), screen(40, 10)},
		"failing-20x5.txt":    {at(25), screen(20, 5)},
		"failing-1x1.txt":     {at(25), screen(1, 1)},
		"colours-60x12.txt":   {at(25), replay.Screen{Width: 60, Height: 12, Line: line, Palette: replay.Colours()}},
		"help-80x24.txt":      {at(25), replay.Screen{Width: 80, Height: 24, Line: line, Help: true}},
		"note-80x8.txt":       {at(25), replay.Screen{Width: 80, Height: 8, Line: line, Note: "no rollout later"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, strings.ReplaceAll(c.screen.Draw(c.player), "\x1b", "␛"))
		})
	}
}

func TestAScreenFillsItsSizeAndNoMore(t *testing.T) {
	t.Parallel()
	s := small(t)
	large := grid(t, 1000)
	for _, p := range []*replay.Player{s.settle(s.player(replay.Filter{})), large} {
		p.Refresh()
		for w := range 100 {
			for h := range 30 {
				for _, help := range []bool{false, true} {
					c := screen(w, h)
					c.Help, c.Palette = help, replay.Colours()
					drawn := c.Draw(p)
					lines := strings.Split(drawn, "\n")
					if h > 0 && len(lines) != h {
						t.Fatalf("%dx%d has %d lines", w, h, len(lines))
					}
					for _, l := range lines {
						if n := ansi.StringWidth(l); n > w {
							t.Fatalf("%dx%d: a line of %d columns: %q", w, h, n, l)
						}
					}
				}
			}
		}
	}
}

// grid is a fleet of n devices amid a rollout, in which a few fail.
func grid(t testing.TB, n int) *replay.Player {
	s := newStory(t)
	s.apply("hello", "web:1", 1)
	s.rollout("hello", eventlog.RolloutStarted, 1, n)
	for i := range n {
		d := fmt.Sprintf("d-%06d", i)
		s.assign(d, "hello", "web:1", 1)
		switch {
		case i%97 == 50:
			s.report(d, "hello", eventlog.PhaseFailed, "web:1")
		case i < n*2/3:
			s.report(d, "hello", eventlog.PhaseRunning, "web:1")
		}
	}
	p := s.settle(s.player(replay.Filter{}))
	p.End()
	s.settle(p).Refresh()
	return p
}

func TestGoldenGrids(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ devices, width, height int }{
		"grid-300-80x24.txt":    {300, 80, 24},
		"grid-4000-160x50.txt":  {4000, 160, 50},
		"grid-4000-80x24.txt":   {4000, 80, 24},
		"grid-20000-100x30.txt": {20000, 100, 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, screen(c.width, c.height).Draw(grid(t, c.devices)))
		})
	}
}

func BenchmarkScreenOf100000Devices(b *testing.B) {
	p := grid(b, 100_000)
	c := screen(200, 60)
	c.Palette = replay.Colours()
	for b.Loop() {
		c.Draw(p)
	}
}

// One step back in a large fleet, as a person at the keyboard feels it.
func BenchmarkAStepBackAmid100000Devices(b *testing.B) {
	s := newStory(b)
	for i := range 100_000 {
		s.apply("hello", "web:1", 1)
		s.assign(fmt.Sprintf("d-%06d", i), "hello", "web:1", 1)
	}
	p := s.settle(s.player(replay.Filter{}))
	p.End()
	s.settle(p)
	p.Back()
	s.settle(p)
	for b.Loop() {
		p.Back()
		s.settle(p).Refresh()
	}
}
