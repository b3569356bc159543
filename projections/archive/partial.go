package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// disk is what an archive is written to.
type disk interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

func openDisk(path string) (disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w (%w)", path, ErrBusy, err), f.Close())
	}
	return f, nil
}

// Lock locks a file, which it makes where there is none, so that no other process locks
// it until the lock is closed or this process ends. It fails with ErrBusy. Systems other
// than Unix have no such lock, and nobody is kept out there.
func Lock(path string) (io.Closer, error) { return openDisk(path) }

// partial is a file in the making. What an earlier run, or an earlier try, wrote of
// the same log is kept: where the same chunk comes again it is not written again.
type partial struct {
	path string
	disk disk

	head    []byte  // its first entry, as it stands there
	kept    []Chunk // whole ones, which follow it
	written []Chunk // in this try
	at      int64   // where the next one goes
}

// openPartial finds what is there.
func openPartial(path string, open func(string) (disk, error)) (*partial, error) {
	d, err := open(path)
	if err != nil {
		return nil, err
	}
	p := &partial{path: path, disk: d}
	p.find()
	return p, nil
}

// find reads on from the beginning for as long as all is well. Whatever follows
// is written again, so that it does not matter what is wrong with it.
func (p *partial) find() {
	s := newScanner(io.NewSectionReader(p.disk, 0, 1<<62))
	name, content, _, err := s.next(maxJSON)
	if err != nil || name != nameHead {
		return
	}
	if p.head, err = entry(nameHead, content, time.Time{}); err != nil {
		return
	}
	for {
		name, content, at, err := s.next(maxChunk)
		number, sum, ok := parseChunk(name)
		if err != nil || !ok || number != len(p.kept)+1 || sumOf(content) != sum {
			return
		}
		c := Chunk{Offset: at, Size: int64(len(content)), SHA256: sum}
		if unpack(content, func(m message) error { c.note(m.sequence); return nil }) != nil {
			return
		}
		p.kept = append(p.kept, c)
	}
}

func (c *Chunk) note(sequence uint64) {
	if c.First == 0 {
		c.First = sequence
	}
	c.Last = sequence
}

// begin starts a try: all of the log will come from its beginning. It gives how
// many chunks of the same log are there.
func (p *partial) begin(h head) (kept int, err error) {
	b, err := json.Marshal(h)
	if err != nil {
		return 0, err
	}
	if b, err = entry(nameHead, append(b, '\n'), time.Time{}); err != nil {
		return 0, err
	}
	p.written, p.at = nil, int64(len(b))
	if bytes.Equal(b, p.head) {
		return len(p.kept), nil
	}
	p.head, p.kept = nil, nil
	if err := p.disk.Truncate(0); err != nil {
		return 0, p.failed(err)
	}
	if err := p.write(b, 0); err != nil {
		return 0, err
	}
	p.head = b
	return 0, nil
}

// put takes the next chunk. It says whether it was there already.
func (p *partial) put(content []byte, first, last uint64, at time.Time) (there bool, err error) {
	c := Chunk{First: first, Last: last, Offset: p.at + block, Size: int64(len(content)), SHA256: sumOf(content)}
	n := len(p.written)
	if n < len(p.kept) && p.kept[n] == c {
		p.at = c.Offset + padded(c.Size)
		p.written = append(p.written, c)
		return true, nil
	}
	p.kept = p.kept[:min(n, len(p.kept))] // from here on it is another
	if err := p.append(chunkName(n+1, c.SHA256), content, at); err != nil {
		return false, err
	}
	p.kept, p.written = append(p.kept, c), append(p.written, c)
	return false, nil
}

func (p *partial) append(name string, content []byte, at time.Time) error {
	b, err := entry(name, content, at)
	if err != nil {
		return err
	}
	if err := p.write(b, p.at); err != nil {
		return err
	}
	p.at += int64(len(b))
	return nil
}

func (p *partial) write(b []byte, at int64) error {
	if _, err := p.disk.WriteAt(b, at); err != nil {
		return p.failed(err)
	}
	return nil
}

// finish writes what follows the log, reads all of it back, and gives the file
// its name.
func (p *partial) finish(m *Index, start, end []byte, file string) error {
	p.kept = p.kept[:len(p.written)]
	if err := p.disk.Truncate(p.at); err != nil {
		return p.failed(err)
	}
	m.Chunks = p.written
	if err := p.trailer(m, start, end); err != nil {
		return err
	}
	sum, err := p.readBack()
	if err != nil {
		return err
	}
	m.ID = sum
	b, err := ending(*m)
	if err != nil {
		return err
	}
	if err := p.write(b, p.at); err != nil {
		return err
	}
	m.Size = p.at + int64(len(b))
	if err := p.disk.Sync(); err != nil {
		return p.failed(err)
	}
	if err := p.disk.Close(); err != nil {
		return p.failed(err)
	}
	if err := os.Rename(p.path, file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func (p *partial) trailer(m *Index, start, end []byte) error {
	m.start = span{p.at + block, int64(len(start))}
	if err := p.append(chunkName(firstChunk, sumOf(start)), start, m.Created); err != nil {
		return err
	}
	m.end = span{p.at + block, int64(len(end))}
	if err := p.append(chunkName(lastChunk, sumOf(end)), end, m.Created); err != nil {
		return err
	}
	backup, err := json.MarshalIndent(map[string]json.RawMessage{"config": m.Config, "state": m.State}, "", "  ")
	if err != nil {
		return err
	}
	if err := p.append(nameBackup, append(backup, '\n'), m.Created); err != nil {
		return err
	}
	manifest, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return p.append(nameManifest, append(manifest, '\n'), m.Created)
}

// readBack hashes what stands on the disk, and makes sure that each chunk is
// what was meant to stand there.
func (p *partial) readBack() (string, error) {
	whole := sha256.New()
	from := int64(0)
	copyTo := func(to int64, w io.Writer) error {
		n, err := io.Copy(w, io.NewSectionReader(p.disk, from, to-from))
		if err == nil && n != to-from {
			err = io.ErrUnexpectedEOF
		}
		from = to
		return err
	}
	for i, c := range p.written {
		one := sha256.New()
		err := errors.Join(copyTo(c.Offset, whole), copyTo(c.Offset+c.Size, io.MultiWriter(whole, one)))
		if err == nil && hex.EncodeToString(one.Sum(nil)) != c.SHA256 {
			err = errors.New("it reads otherwise than it was written: is the disk sound?")
		}
		if err != nil {
			return "", fmt.Errorf("read %s back: chunk %d: %w", p.path, i+1, err)
		}
	}
	if err := copyTo(p.at, whole); err != nil {
		return "", fmt.Errorf("read %s back: %w", p.path, err)
	}
	return hex.EncodeToString(whole.Sum(nil)), nil
}

// failed says which file it was, where the system does not.
func (p *partial) failed(err error) error {
	var said *os.PathError
	if errors.As(err, &said) {
		return err
	}
	return fmt.Errorf("write %s: %w", p.path, err)
}

// syncDir makes a rename outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
