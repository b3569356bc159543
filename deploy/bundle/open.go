package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"fleet.nationtech.io/deploy/images"
)

// Bundle is a bundle that is whole and open. It is safe for use by several goroutines.
type Bundle struct {
	index Index
	file  *os.File
	parts map[string]*io.SectionReader
}

// Open reads a bundle to its end, and compares each part with its checksum and the images
// with what bundle.json says of them; progress is told how many bytes of how many were
// read, and may be nil. It refuses a file with entries that bundle.json does not list. The
// caller closes the bundle.
func Open(ctx context.Context, file string, progress func(done, total uint64)) (*Bundle, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	b := &Bundle{file: f, parts: map[string]*io.SectionReader{}}
	if err := b.read(ctx, progress); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("bundle %s: %w", file, err)
	}
	return b, nil
}

// Index says what the bundle holds.
func (b *Bundle) Index() Index { return b.index }

// Close closes the file. What was read of the bundle cannot be read on.
func (b *Bundle) Close() error { return b.file.Close() }

// counter knows how far a reader is. A tar.Reader reads no further than it needs.
type counter struct {
	ctx      context.Context
	r        io.Reader
	read     int64
	total    uint64
	progress func(done, total uint64)
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.read += int64(n)
	if c.progress != nil {
		c.progress(uint64(c.read), c.total)
	}
	return n, err
}

func (b *Bundle) read(ctx context.Context, progress func(done, total uint64)) error {
	stat, err := b.file.Stat()
	if err != nil {
		return err
	}
	at := &counter{ctx: ctx, r: b.file, total: uint64(stat.Size()), progress: progress}
	entries := tar.NewReader(at)
	if err := b.readIndex(entries); err != nil {
		return err
	}
	for _, part := range b.index.Parts {
		h, err := entries.Next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("the file ends before the part %s: copy it again", part.Path)
		case err != nil:
			return fmt.Errorf("part %s: %w", part.Path, err)
		case h.Typeflag != tar.TypeReg || h.Name != part.Path:
			return fmt.Errorf("%.200q stands where bundle.json has the file %s", h.Name, part.Path)
		case len(h.PAXRecords) > 0: // such a header can make holes, which are not in the file
			return fmt.Errorf("the part %s has an extended header, which no part of a bundle has", part.Path)
		case h.Size != part.Size:
			return fmt.Errorf("the part %s has %d bytes, and bundle.json says %d", part.Path, h.Size, part.Size)
		}
		b.parts[part.Path] = io.NewSectionReader(b.file, at.read, part.Size)
		sum := sha256.New()
		if _, err := io.Copy(sum, entries); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("the file ends within the part %s: copy it again", part.Path)
			}
			return fmt.Errorf("part %s: %w", part.Path, err)
		}
		if hex.EncodeToString(sum.Sum(nil)) != part.SHA256 {
			return fmt.Errorf("the part %s is damaged: its SHA-256 is not that of bundle.json; copy the file again", part.Path)
		}
	}
	if h, err := entries.Next(); !errors.Is(err, io.EOF) {
		if err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
		return fmt.Errorf("%.200q is not listed in bundle.json", h.Name)
	}
	return b.checkImages()
}

func (b *Bundle) readIndex(entries *tar.Reader) error {
	h, err := entries.Next()
	if err != nil || h.Name != indexFile || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%w: it does not begin with %s", ErrNot, indexFile)
	}
	if h.Size > maxIndex {
		return fmt.Errorf("%s has %d bytes; it has at most %d", indexFile, h.Size, maxIndex)
	}
	text, err := io.ReadAll(entries)
	if err != nil {
		return fmt.Errorf("%s: %w", indexFile, err)
	}
	if err := json.Unmarshal(text, &b.index); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNot, indexFile, err)
	}
	sum := sha256.Sum256(text)
	b.index.SHA256 = hex.EncodeToString(sum[:])
	return b.index.check()
}

// Images gives the images. Set.Push puts them into a registry, Set.WriteArchive into a
// docker archive. The bundle must stay open.
func (b *Bundle) Images() (images.Set, error) {
	set, err := b.layout()
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return set, nil
}

func (b *Bundle) layout() (images.Set, error) {
	below, err := fs.Sub(b.files(), imagesDir)
	if err != nil {
		return nil, err
	}
	set, _, err := images.ReadLayout(below)
	return set, err
}

// Program gives a program for a platform, such as fleet-agent for linux/arm/v7.
func (b *Bundle) Program(name, platform string) ([]byte, error) {
	for _, p := range b.index.Programs {
		if p.Name != name || p.Platform != platform {
			continue
		}
		unpacked, err := gzip.NewReader(io.NewSectionReader(b.parts[p.Part], 0, b.parts[p.Part].Size()))
		if err != nil {
			return nil, fmt.Errorf("bundle: %s for %s: %w", name, platform, err)
		}
		content, err := io.ReadAll(io.LimitReader(unpacked, p.Size+1))
		if err != nil {
			return nil, fmt.Errorf("bundle: %s for %s: %w", name, platform, err)
		}
		if sum := sha256.Sum256(content); int64(len(content)) != p.Size || hex.EncodeToString(sum[:]) != p.SHA256 {
			return nil, fmt.Errorf("bundle: %s for %s is not what bundle.json says of it", name, platform)
		}
		return content, nil
	}
	return nil, fmt.Errorf("the bundle of %s has no %s for %s; it has %s", b.index.Version, name, platform, b.programs())
}

// CheckPrograms unpacks each program and compares it with its checksum, as Program does
// with the one that it gives.
func (b *Bundle) CheckPrograms(ctx context.Context) error {
	for _, p := range b.index.Programs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := b.Program(p.Name, p.Platform); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bundle) programs() string {
	var list []byte
	for _, p := range b.index.Programs {
		list = fmt.Appendf(list, "%s for %s, ", p.Name, p.Platform)
	}
	if len(list) == 0 {
		return "no programs"
	}
	return string(bytes.TrimSuffix(list, []byte(", ")))
}

// ChartArchive gives the Helm chart as helm package makes it, a .tgz. It fails where the
// bundle has none.
func (b *Bundle) ChartArchive() ([]byte, error) {
	if b.index.Chart == "" {
		return nil, fmt.Errorf("the bundle of %s has no Helm chart", b.index.Version)
	}
	part := b.parts[b.index.Chart]
	if part.Size() > maxChart {
		return nil, fmt.Errorf("the bundle's Helm chart has %d bytes; it has at most %d", part.Size(), maxChart)
	}
	return io.ReadAll(io.NewSectionReader(part, 0, part.Size()))
}
