package archive

import (
	"io"
	"os"
)

// Faulty makes a disk that fails to take more than so many bytes in all.
func Faulty(o CreateOptions, most int64, failure error) CreateOptions {
	o.open = func(path string) (disk, error) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		return &full{File: f, most: most, failure: failure}, err
	}
	return o
}

type full struct {
	*os.File
	most    int64
	failure error
}

func (f *full) WriteAt(b []byte, at int64) (int, error) {
	if f.most -= int64(len(b)); f.most < 0 {
		return 0, f.failure
	}
	return f.File.WriteAt(b, at)
}

var _ io.WriterAt = (*full)(nil)
