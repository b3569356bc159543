// Package wholefile writes files that are there whole or not at all.
package wholefile

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
)

// Write writes a file as Stream does.
func Write(file string, mode fs.FileMode, content []byte) error {
	return Stream(file, mode, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Stream writes a file, in place of the one that is there or where nothing is. Until it is
// whole it is called FILE.part. So a write that fails or is cut leaves the former file, and
// a program that runs from that file goes on. The umask takes its bits from mode. What is
// there and is no regular file, such as a pipe, is written to.
func Stream(file string, mode fs.FileMode, write func(io.Writer) error) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		to, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(buffered(to, write), to.Close())
	}
	name := file + ".part"
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have other rights
		return err
	}
	part, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if err := errors.Join(buffered(part, write), part.Sync(), part.Close()); err != nil {
		_ = os.Remove(name)
		return err
	}
	return os.Rename(name, file)
}

func buffered(to io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(to, 1<<20)
	if err := write(b); err != nil {
		return err
	}
	return b.Flush()
}
