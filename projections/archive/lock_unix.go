//go:build unix

package archive

import (
	"os"
	"syscall"
)

// lock makes sure that no other run writes the same file. It ends with the file.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
