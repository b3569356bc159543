//go:build unix

package cli

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// readerGone waits until nobody can read any more what is written to a pipe, a
// socket or a terminal, or until end can be read from, and says whether it was the
// former. A file has no reader who could go.
func readerGone(out, end *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(out.Fd())}, {Fd: int32(end.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && fds[1].Revents == 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	}
}
