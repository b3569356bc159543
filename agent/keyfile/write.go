package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// place writes a file that its owner alone may read, and puts it at its place by
// os.Rename or os.Link: at once, or not at all.
func place(path string, text []byte, how func(from, to string) error) error {
	at, err := beside(path, text)
	if err != nil {
		return err
	}
	defer os.Remove(at) // it is gone where it was renamed
	return install(at, path, how)
}

// beside writes a file that its owner alone may read into the directory of another
// one, down to the disk, and gives its path.
func beside(path string, text []byte) (at string, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return "", err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		_ = os.Remove(file.Name()) // what made it fail is told
		return "", err
	}
	return file.Name(), nil
}

// install gives a file its name, down to the disk.
func install(at, path string, how func(from, to string) error) error {
	if err := how(at, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // where a file system syncs no directories
		return err
	}
	return nil
}

// explain says what to do about what a file system refuses.
func explain(what, path string, err error) error {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: the disk that holds %s is full: free some space, and run it again: %w", what, dir, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s: this process cannot write in %s: mount it for writing, or add ReadWritePaths=%s to fleet-agent.service: %w", what, dir, dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: this user may not write in %s: run it as root, or as the user of the agent: %w", what, dir, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: directory %s is not there: make it with mkdir -m 0700 %s: %w", what, dir, dir, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
