//go:build unix

package backup

import (
	"io/fs"
	"os"
	"syscall"
)

// isPrivate says whether this user owns a file and nobody else may use it.
func isPrivate(i fs.FileInfo) bool {
	s, ok := i.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Getuid() && i.Mode().Perm()&0o077 == 0
}
