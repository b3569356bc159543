// Package machine is a device as commands and files: the machine that this program runs
// on, or another one over SSH. The device needs no more than a POSIX shell.
package machine

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Machine is a device on which scripts are run as root.
type Machine interface {
	// Run runs a script as root. An exit code other than zero is no error. An error
	// says that the script may not have run to its end.
	Run(ctx context.Context, c Command) (Result, error)
	// ReadFile gives a file's content. It fails with ErrNoFile where there is none.
	ReadFile(ctx context.Context, path string) ([]byte, error)
	// WriteFile replaces a file at once: who reads it sees the old content or the new.
	WriteFile(ctx context.Context, f File) error
	// String is how a person names the machine.
	String() string
	Close() error
}

// Command is a script of a POSIX shell. Script and Args can be seen by every user of
// the device while it runs; a secret goes to Stdin.
type Command struct {
	Script string
	Args   []string // $1, $2 and on
	Stdin  []byte
}

// Result is what came of a script.
type Result struct {
	Stdout, Stderr []byte // at most maxOutput of each
	Code           int
}

// File is a file that is to be written.
type File struct {
	Path    string // absolute
	Mode    uint32 // such as 0600
	Content []byte
}

// ErrNoFile says that there is no such file.
var ErrNoFile = errors.New("there is no such file")

// maxOutput is how much is kept of what a script writes, of each stream.
const maxOutput = 4 << 20

// ScriptError is the error of a script that ended with another code than zero.
type ScriptError struct {
	Doing  string // such as "write /etc/fleet-agent/config.toml"
	Code   int
	Stderr string // its last line
}

func (e *ScriptError) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("%s: exit code %d", e.Doing, e.Code)
	}
	return e.Doing + ": " + e.Stderr
}

// Check gives the error of a script that had to end with zero.
func (r Result) Check(doing string) error {
	if r.Code == 0 {
		return nil
	}
	return &ScriptError{Doing: doing, Code: r.Code, Stderr: LastLine(r.Stderr)}
}

// FirstLine is the first line that is not empty, without what a terminal would not show.
func FirstLine(text []byte) string {
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return visible(first)
}

// LastLine is the last line that is not empty, without what a terminal would not show.
func LastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return visible(lines[len(lines)-1])
}

func visible(line string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, strings.TrimSpace(line))
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ kept []byte }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - len(b.kept); room > 0 {
		b.kept = append(b.kept, p[:min(room, len(p))]...)
	}
	return len(p), nil
}
