package main

import (
	"errors"
	"os"
	"path/filepath"
)

// writeFileAtomically replaces path by content, readable by this user alone. A
// reader, or a start after a kill, sees the old file or the new one, never a half.
func writeFileAtomically(path string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, removeIfPresent(temp.Name()))
	}
	return nil
}
