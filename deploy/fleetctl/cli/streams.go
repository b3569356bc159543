// Package cli is what every command of fleetctl runs in: its streams, its exit codes,
// and errors that say what to try.
package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Streams is what a command reads and writes. The zero value of Terminal,
// ErrTerminal and Color is that of a pipe.
type Streams struct {
	Out, Err    io.Writer
	Terminal    bool // Out is a terminal: people read it
	ErrTerminal bool // Err is a terminal: people see how far long work is
	Color       bool // Out takes colours: a terminal, and NO_COLOR is not set
	Width       int  // columns of the terminal that Out is; 0: it is none, or not known
	Getenv      func(string) string
	Now         func() time.Time
	// Name is how the program was called: fleetctl, or kubectl-fleet as a
	// plugin of kubectl.
	Name string

	broken       func(error)   // receives an error of Out; nil where Out notices it by itself
	watchReaders func() func() // see follow; nil outside Run
}

// Follow ends the command as soon as nobody reads its answer any more, until end is
// called. It is for commands that go on until a person ends them.
func (s Streams) Follow() (end func()) {
	if s.watchReaders == nil {
		return func() {}
	}
	return s.watchReaders()
}

// Tell writes a part of the answer. An error of the output ends the command; Run
// reports it.
func (s Streams) Tell(format string, args ...any) {
	if _, err := fmt.Fprintf(s.Out, format, args...); err != nil && s.broken != nil {
		s.broken(err)
	}
}

// Warn writes beside the answer, to standard error.
func (s Streams) Warn(format string, args ...any) { _, _ = fmt.Fprintf(s.Err, format, args...) }

// Program is the program's name as a person types it.
func (s Streams) Program() string {
	if plugin, ok := strings.CutPrefix(s.Name, "kubectl-"); ok {
		return "kubectl " + plugin
	}
	return s.Name
}
