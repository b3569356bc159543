package cli

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// Confirm asks a person, and fails where none is there to answer.
func Confirm(s Streams, stdin io.Reader, question string) error {
	if !s.Terminal {
		return Misused(errors.New("standard output is not a terminal, so nobody can be asked"), "--yes")
	}
	s.Warn("%s [y/N] ", question)
	answer, err := bufio.NewReader(stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); err == nil && (a == "y" || a == "yes") {
		return nil
	}
	return Failed(errors.New("not confirmed; nothing was changed"), "")
}
