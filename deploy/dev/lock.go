package dev

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// lock keeps a second fleet-dev off a data directory. The kernel lets it go
// when the process ends, however it ends.
func lock(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, rerr := os.ReadFile(file)
		_ = f.Close()
		if rerr != nil || len(holder) == 0 {
			holder = []byte("another process")
		}
		return nil, fmt.Errorf("the data directory is in use: %s holds %s; stop it, or give another --data-dir",
			strings.TrimSpace(string(holder)), file)
	}
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if _, err := fmt.Fprintf(f, "fleet-dev process %d\n", os.Getpid()); err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	return f, nil
}
