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
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/deploy/images"
	"fleet.nationtech.io/deploy/wholefile"
)

// Contents is what goes into a bundle.
type Contents struct {
	Platforms []v1.Platform
	Images    images.Set // for these platforms and others; ours say which version and commit it is
	// Programs are the names of programs in Dir/PLATFORM/NAME, with the platform as
	// images.FileName says it.
	Programs []string
	Dir      string
	Chart    fs.FS // the folder of a Helm chart; nil: none
}

// Write makes a bundle in place of the file, or where nothing is. What it needs beside it
// until it is done is of the same size. progress is told how many bytes of how many were
// written, and may be nil.
func Write(ctx context.Context, file string, c Contents, progress func(done, total uint64)) (Index, error) {
	scratch, err := os.MkdirTemp(filepath.Dir(file), ".bundle-")
	if err != nil {
		return Index{}, err
	}
	defer os.RemoveAll(scratch)
	w := writer{contents: c, dir: scratch, index: Index{Schema: Schema}}
	for _, gather := range []func() error{w.images, w.programs, w.chart, w.sum} {
		if err := errors.Join(ctx.Err(), gather()); err != nil {
			return Index{}, fmt.Errorf("bundle: %w", err)
		}
	}
	err = wholefile.Stream(file, 0o644, func(to io.Writer) error { return w.write(ctx, to, progress) })
	if err != nil {
		return Index{}, fmt.Errorf("bundle: %w", err)
	}
	return w.index, nil
}

// writer gathers the parts in a folder.
type writer struct {
	contents Contents
	dir      string
	index    Index
}

func (w *writer) images() error {
	set, err := w.contents.Images.For(w.contents.Platforms)
	if err != nil {
		return err
	}
	for _, p := range w.contents.Platforms {
		w.index.Platforms = append(w.index.Platforms, p.String())
	}
	if w.index.Images, err = describe(set); err != nil {
		return err
	}
	for _, image := range set {
		if image.Source != "" {
			continue
		}
		version, commit, err := image.Version()
		if err != nil {
			return err
		}
		if version == "" || w.index.Version != "" && (version != w.index.Version || commit != w.index.Commit) {
			return fmt.Errorf("the image %s is of version %q, commit %q, and the others of %q, %q; make the images again", image.Name, version, commit, w.index.Version, w.index.Commit)
		}
		w.index.Version, w.index.Commit = version, commit
	}
	if w.index.Version == "" {
		return errors.New("no image of the fleet is there: make images first")
	}
	return set.WriteLayout(filepath.Join(w.dir, imagesDir), images.LocalRepository)
}

func (w *writer) programs() error {
	for _, p := range w.contents.Platforms {
		for _, name := range w.contents.Programs {
			source := filepath.Join(w.contents.Dir, images.FileName(p), name)
			platform, info, err := images.Inspect(source)
			if err != nil {
				return err
			}
			if platform.String() != p.String() || info.Commit != w.index.Commit {
				return fmt.Errorf("%s is for %s, commit %q, and wanted is %s, commit %q of the images; make the images again", source, platform, info.Commit, p, w.index.Commit)
			}
			packed, err := w.pack(source, Program{Name: name, Platform: p.String(), Part: path.Join(programsDir, images.FileName(p), name+".gz")})
			if err != nil {
				return err
			}
			w.index.Programs = append(w.index.Programs, packed)
		}
	}
	return nil
}

// pack compresses a program.
func (w *writer) pack(source string, p Program) (Program, error) {
	content, err := os.ReadFile(source)
	if err != nil {
		return p, err
	}
	sum := sha256.Sum256(content)
	p.Size, p.SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(content); err != nil {
		return p, err
	}
	if err := z.Close(); err != nil {
		return p, err
	}
	return p, w.put(p.Part, packed.Bytes())
}

func (w *writer) put(part string, content []byte) error {
	file := filepath.Join(w.dir, filepath.FromSlash(part))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o600)
}

// chart packs the Helm chart as helm package does: a .tgz of the folder fleet.
func (w *writer) chart() error {
	if w.contents.Chart == nil {
		return nil
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	entries := tar.NewWriter(z)
	err := fs.WalkDir(w.contents.Chart, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(w.contents.Chart, name)
		if err != nil {
			return err
		}
		return entry(entries, path.Join("fleet", name), int64(len(text)), bytes.NewReader(text))
	})
	if err := errors.Join(err, entries.Close(), z.Close()); err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	w.index.Chart = chartFile
	return w.put(chartFile, packed.Bytes())
}

// sum lists the parts with their checksums.
func (w *writer) sum() error {
	err := fs.WalkDir(os.DirFS(w.dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(filepath.Join(w.dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		size, err := io.Copy(sum, f)
		w.index.Parts = append(w.index.Parts, Part{name, size, hex.EncodeToString(sum.Sum(nil))})
		return err
	})
	slices.SortFunc(w.index.Parts, func(a, b Part) int { return strings.Compare(a.Path, b.Path) })
	return err
}

func (w *writer) write(ctx context.Context, to io.Writer, progress func(done, total uint64)) error {
	index, err := json.MarshalIndent(w.index, "", "  ")
	if err != nil {
		return err
	}
	if err := w.index.check(); err != nil {
		return err
	}
	sum := sha256.Sum256(index)
	w.index.SHA256 = hex.EncodeToString(sum[:])
	var total uint64
	for _, p := range w.index.Parts {
		total += uint64(p.Size)
	}
	entries := tar.NewWriter(to)
	if err := entry(entries, indexFile, int64(len(index)), bytes.NewReader(index)); err != nil {
		return err
	}
	done := int64(0)
	for _, p := range w.index.Parts {
		part, err := os.Open(filepath.Join(w.dir, filepath.FromSlash(p.Path)))
		if err != nil {
			return err
		}
		from := &counter{ctx: ctx, r: part, read: done, total: total, progress: progress}
		err = entry(entries, p.Path, p.Size, from)
		_ = part.Close()
		if err != nil {
			return err
		}
		done = from.read
	}
	return entries.Close()
}

// entry writes a file with fixed rights and a fixed time.
func entry(w *tar.Writer, name string, size int64, content io.Reader) error {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(&h); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := io.Copy(w, content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
