package checkup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"syscall"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"fleet.nationtech.io/deploy/fleetctl/render"
)

// live shows pages on a terminal, one in place of the other.
type live struct {
	color bool
	out   *os.File
	pages func(context.Context) iter.Seq[page] // until the context ends
}

// run returns once a person quits, the context ends or the terminal goes.
func (l live) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	program := tea.NewProgram(&list{color: l.color}, tea.WithOutput(l.out), tea.WithoutSignalHandler())
	defer context.AfterFunc(ctx, program.Quit)()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		for p := range l.pages(ctx) {
			program.Send(p)
		}
	}()
	_, err := program.Run()
	cancel()
	<-shown
	if gone := errors.Is(err, syscall.EIO) || errors.Is(err, fs.ErrClosed); err != nil && !gone {
		return fmt.Errorf("the terminal: %w", err)
	}
	return nil
}

// list is a page in bubbletea's loop.
type list struct {
	color         bool
	page          page
	known         bool // there is a page
	width, height int
	top           int // the first line that is shown, below the head
}

func (l *list) Init() tea.Cmd { return nil }

func (l *list) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case page:
		l.page, l.known = msg, true
	case tea.WindowSizeMsg:
		l.width, l.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "ctrl+c", "esc":
			return l, tea.Quit
		case "up", "k":
			l.top--
		case "down", "j":
			l.top++
		case "pgup", "b":
			l.top -= l.height - 3
		case "pgdown", "space":
			l.top += l.height - 3
		case "home", "g":
			l.top = 0
		case "end", "G":
			l.top = len(l.body())
		}
	}
	l.top = max(0, min(l.top, len(l.body())-(l.height-2)))
	return l, nil
}

func (l *list) body() []string {
	if !l.known {
		return nil
	}
	return l.page.text(l.color, max(40, l.width), false)[1:]
}

func (l *list) View() tea.View {
	v := tea.NewView(strings.Join(l.lines(), "\n"))
	v.AltScreen = true
	return v
}

// lines are exactly as many as the screen has, none wider than it.
func (l *list) lines() []string {
	lines := []string{"reading the log"}
	if l.known {
		lines[0] = l.page.head()
	}
	body := l.body()
	shown := body[min(l.top, len(body)):]
	lines = append(lines, shown[:min(len(shown), max(0, l.height-2))]...)
	for len(lines) < l.height-1 {
		lines = append(lines, "")
	}
	hint := "q quit"
	if len(body) > l.height-2 {
		hint = fmt.Sprintf("↑ ↓ scroll, q quit; lines %d to %d of %d", l.top+1, l.top+min(len(shown), max(0, l.height-2)), len(body))
	}
	if l.page.Outage != "" {
		hint = render.Printable(l.page.Outage)
		if l.color {
			hint = red + hint + plain
		}
	}
	lines = append(lines, hint)
	lines = lines[:min(len(lines), max(0, l.height))]
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, l.width, "…")
	}
	return lines
}
