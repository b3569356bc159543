package bundle

import (
	"io"
	"io/fs"
	"path"
	"time"
)

// files are the parts as a file system that opens files and lists nothing.
func (b *Bundle) files() fs.FS { return partFiles(b.parts) }

type partFiles map[string]*io.SectionReader

func (p partFiles) Open(name string) (fs.File, error) {
	part, ok := p[name]
	if !ok || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &partFile{io.NewSectionReader(part, 0, part.Size()), path.Base(name)}, nil
}

// partFile is a part that is read from its beginning.
type partFile struct {
	*io.SectionReader
	name string
}

func (f *partFile) Close() error               { return nil }
func (f *partFile) Stat() (fs.FileInfo, error) { return partInfo{f}, nil }

type partInfo struct{ f *partFile }

func (i partInfo) Name() string     { return i.f.name }
func (partInfo) Mode() fs.FileMode  { return 0o444 }
func (partInfo) ModTime() time.Time { return time.Time{} }
func (partInfo) IsDir() bool        { return false }
func (partInfo) Sys() any           { return nil }
func (i partInfo) Size() int64      { return i.f.Size() }
