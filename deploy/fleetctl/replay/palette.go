package replay

import (
	"image/color"

	"charm.land/lipgloss/v2"
)

// Palette colours a screen. The zero Palette paints nothing: all that colour
// says is also said by letters.
type Palette struct {
	State             [states]lipgloss.Style
	Dim, Strong, Note lipgloss.Style
}

// Colours is the palette of a terminal: of the sixteen colours that a person's
// own theme makes readable.
func Colours() Palette {
	on := func(c color.Color) lipgloss.Style { return lipgloss.NewStyle().Foreground(c) }
	p := Palette{Dim: lipgloss.NewStyle().Faint(true), Strong: lipgloss.NewStyle().Bold(true), Note: on(lipgloss.Yellow)}
	p.State[StateIdle] = p.Dim
	p.State[StateRunning] = on(lipgloss.Green)
	p.State[StatePending] = on(lipgloss.Blue)
	p.State[StateOffline] = on(lipgloss.Yellow)
	p.State[StateRevoked] = on(lipgloss.Magenta)
	p.State[StateFailed] = on(lipgloss.Red).Bold(true)
	return p
}
