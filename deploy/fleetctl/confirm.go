package fleetctl

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"fleet.nationtech.io/deploy/fleetctl/cli"
)

// confirm asks a person, and fails where none is there to answer.
func confirm(s cli.Streams, stdin io.Reader, question string) error {
	if !s.Terminal {
		return cli.Misused(errors.New("standard output is not a terminal, so nobody can be asked"), "--yes")
	}
	s.Warn("%s [y/N] ", question)
	answer, err := bufio.NewReader(stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); err == nil && (a == "y" || a == "yes") {
		return nil
	}
	return cli.Failed(errors.New("not confirmed; nothing was changed"), "")
}
