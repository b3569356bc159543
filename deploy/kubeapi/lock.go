package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errDataDirInUse says that another process serves the same data directory.
var errDataDirInUse = errors.New("data directory is in use")

const (
	lockFile = "lock"
	// lockPatience covers a predecessor that has been told to go and is on its
	// way out (orphanLimit), so that a killed parent can be started again at once,
	// on a machine that does much else, too.
	lockPatience = 10 * time.Second
	lockInterval = 50 * time.Millisecond
)

// dirLock is the exclusive right to a data directory. It is a flock, so the
// kernel gives it up whenever the process ends. Without it a second process
// would wait inside etcd for ever, deaf to signals.
type dirLock struct {
	// file is kept so that the garbage collector does not close it.
	file *os.File
}

// lockDataDir takes the lock of dir and writes the process id into it. It waits
// at most timeout and then returns errDataDirInUse, naming the holder.
func lockDataDir(ctx context.Context, dir string, timeout time.Duration) (*dirLock, error) {
	path := filepath.Join(dir, lockFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of the data directory: %w", err)
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), file.Close())
		case <-deadline.C:
			return nil, errors.Join(inUse(path, file), file.Close())
		case <-time.After(lockInterval):
		}
	}
	if err := writeHolder(file); err != nil {
		return nil, errors.Join(fmt.Errorf("write lock %s: %w", path, err), file.Close())
	}
	return &dirLock{file: file}, nil
}

// release gives the directory to the next process. The file stays: to remove it
// would let two processes hold a lock of the same name.
func (l *dirLock) release() error { return l.file.Close() }

func writeHolder(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func inUse(path string, file *os.File) error {
	holder := "another kubeapi"
	if content, err := io.ReadAll(io.LimitReader(file, 32)); err == nil {
		if pid := strings.TrimSpace(string(content)); pid != "" {
			holder = "kubeapi process " + pid
		}
	}
	return fmt.Errorf("%w: %s holds the lock %s; stop that process, or give another --data-dir",
		errDataDirInUse, holder, path)
}
