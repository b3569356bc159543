package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Terminal is where a program runs.
type Terminal struct {
	In  io.Reader // nil is the process's own terminal
	Out io.Writer
	Env []string
	// Width and Height are those of a terminal that cannot be asked; 0 asks.
	Width, Height int
	// Stepwise makes the space bar play one event, and time never pass by itself.
	Stepwise bool
}

// Run plays until the person quits, the context ends or the terminal goes, and
// then returns nil; it fails where the log cannot be read on.
func Run(ctx context.Context, t Terminal, source Source, p *Player, c Screen) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := []tea.ProgramOption{
		tea.WithOutput(t.Out), tea.WithEnvironment(t.Env), tea.WithoutSignalHandler(), tea.WithFPS(30),
	}
	if t.In != nil {
		o = append(o, tea.WithInput(t.In))
	}
	if t.Width > 0 {
		o = append(o, tea.WithWindowSize(t.Width, t.Height))
		c.Width, c.Height = t.Width, t.Height
	}
	screen := tea.NewProgram(&program{ctx: ctx, source: source, player: p, screen: c, ticked: time.Now(), stepwise: t.Stepwise}, o...)
	// By tea.WithContext it would close the terminal's reader while that reads.
	defer context.AfterFunc(ctx, screen.Quit)()
	left, err := screen.Run()
	if m, ok := left.(*program); ok && m.err != nil {
		return m.err
	}
	if err != nil && ctx.Err() == nil && !gone(err) {
		return fmt.Errorf("the terminal: %w", err)
	}
	return nil
}

// program is the player in bubbletea's loop: what is to be read is read beside
// it, and all that changes the player happens in Update.
type program struct {
	ctx    context.Context
	source Source
	player *Player
	screen Screen
	err    error

	reading bool
	wanted  Want
	stop    context.CancelFunc // ends the reading
	since   time.Time          // of the reading
	ticking bool
	ticked  time.Time

	stepwise bool
}

const (
	tick     = 40 * time.Millisecond
	longTick = 250 * time.Millisecond // time that the machine slept is not played
	// noteDelay is how long a reading may take before the screen says so.
	noteDelay = time.Second
)

type (
	tickMsg   time.Time
	framesMsg struct {
		want   Want
		frames []Frame
		end    bool
		err    error
	}
	viewMsg struct {
		want  Want
		enter func()
		err   error
	}
	marksMsg struct {
		marks []uint64
		err   error
	}
)

func (m *program) Init() tea.Cmd {
	return tea.Batch(m.next(), func() tea.Msg {
		marks, err := m.source.Rollouts(m.ctx)
		return marksMsg{marks, err}
	})
}

func (m *program) View() tea.View {
	v := tea.NewView(m.screen.Draw(m.player))
	v.AltScreen = true
	return v
}

func (m *program) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.screen.Width, m.screen.Height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		m.screen.Note = ""
		if m.key(msg.String()) {
			return m, tea.Quit
		}
	case tickMsg:
		m.tick(time.Time(msg))
	case framesMsg:
		if err := m.read(msg.want, msg.err); err == nil {
			m.player.Feed(msg.want, msg.frames, msg.end)
			if m.player.speed == SpeedMax {
				m.player.Advance(0)
			}
		}
	case viewMsg:
		if err := m.read(msg.want, msg.err); err == nil {
			msg.enter()
		}
	case marksMsg:
		if msg.err == nil {
			m.player.Mark(msg.marks)
		} else if m.ctx.Err() == nil {
			m.err = msg.err
		}
	}
	m.player.Work()
	if m.err == nil {
		m.err = m.player.Err()
	}
	if m.err != nil {
		return m, tea.Quit
	}
	m.player.Refresh()
	return m, m.next()
}

// read ends a reading, and keeps its error unless nobody waits for it any more.
func (m *program) read(w Want, err error) error {
	if w != m.wanted {
		return errVoid
	}
	m.reading = false
	m.stop()
	if m.screen.Note == noteReading {
		m.screen.Note = ""
	}
	if err != nil && m.ctx.Err() == nil {
		m.err = err
	}
	return err
}

var errVoid = errors.New("nobody waits for it")

const noteReading = "reading the log…"

// next reads what the player wants, and lets time pass where it plays.
func (m *program) next() tea.Cmd {
	var cmds []tea.Cmd
	if w, wants := m.player.Want(); wants && (!m.reading || w != m.wanted) {
		if m.reading {
			m.stop()
		}
		ctx, stop := context.WithCancel(m.ctx)
		m.reading, m.wanted, m.stop, m.since = true, w, stop, time.Now()
		cmds = append(cmds, func() tea.Msg { return m.load(ctx, w) })
	}
	if (m.reading || m.player.Busy() || !m.player.Paused() && !m.player.Ended()) && !m.ticking {
		m.ticking = true
		cmds = append(cmds, tea.Tick(tick, func(t time.Time) tea.Msg { return tickMsg(t) }))
	}
	return tea.Batch(cmds...)
}

func (m *program) load(ctx context.Context, w Want) tea.Msg {
	if w.View {
		v, err := m.source.View(ctx, w.After)
		return viewMsg{w, func() { m.player.Enter(w, v) }, err}
	}
	frames, end, err := m.source.Frames(ctx, w.After, Chunk)
	return framesMsg{w, frames, end, err}
}

func (m *program) tick(now time.Time) {
	m.ticking = false
	passed := min(now.Sub(m.ticked), longTick)
	m.ticked = now
	m.player.Advance(max(passed, 0))
	if m.reading && time.Since(m.since) > noteDelay && m.screen.Note == "" {
		m.screen.Note = noteReading
	}
}

// key does what a key stands for. quit is true where that ends the program.
func (m *program) key(k string) (quit bool) {
	p := m.player
	switch k {
	case "q", "ctrl+c":
		return true
	case "?":
		m.screen.Help = !m.screen.Help
	case "esc":
		m.screen.Help = false
	case "space":
		m.space()
	case "right", "l", "enter":
		p.Pause(true)
		p.Step()
	case "left", "h":
		p.Pause(true)
		p.Back()
	case "shift+right", "n":
		m.rollout(true, "no later rollout")
	case "shift+left", "p":
		m.rollout(false, "no earlier rollout")
	case "home", "g":
		p.Home()
	case "end", "G", "shift+g":
		p.End()
	case "+", "=":
		p.SetSpeed(p.speed.Faster())
	case "-":
		p.SetSpeed(p.speed.Slower())
	}
	return false
}

func (m *program) space() {
	p := m.player
	switch {
	case m.stepwise:
		p.Step()
	case p.Ended():
		p.Home()
		p.Pause(false)
	default:
		p.Pause(!p.Paused())
	}
	m.ticked = time.Now()
}

func (m *program) rollout(forth bool, none string) {
	if !m.player.marked {
		m.screen.Note = "still looking for rollouts"
	} else if !m.player.Rollout(forth) {
		m.screen.Note = none
	}
}

// gone says whether an error is that the terminal went away: what reading from
// and writing to a closed one gives.
func gone(err error) bool {
	for _, known := range []error{tea.ErrProgramKilled, tea.ErrInterrupted, syscall.EIO, syscall.EPIPE, syscall.EBADF, fs.ErrClosed} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
