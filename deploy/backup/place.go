package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// File is a file of a place.
type File struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Place is where archives are kept. A name has no slash.
type Place interface {
	// String names the place for a person, without a secret.
	String() string
	// Put stores a file under a name, whole or not at all.
	Put(ctx context.Context, name, file string, progress func(done, total uint64)) error
	// Get writes the file of a name to w. It fails with ErrMissing where there is none.
	Get(ctx context.Context, name string, w io.Writer, progress func(done, total uint64)) error
	// List lists all files.
	List(ctx context.Context) ([]File, error)
	// Remove removes a file. One that is not there is no error.
	Remove(ctx context.Context, name string) error
}

// Errors of a place.
var (
	// ErrMissing says that the place has no file of the name.
	ErrMissing = errors.New("no such file there")
	// ErrNoPlace says that there is no such directory or bucket.
	ErrNoPlace = errors.New("no such directory or bucket")
	// ErrDenied says that the place does not let this user do that.
	ErrDenied = errors.New("access denied")
	// ErrUnreachable says that the place did not answer, or not to the end.
	ErrUnreachable = errors.New("the store does not answer")
	// ErrFailed says that the place answered that it cannot do that, as one that is full.
	ErrFailed = errors.New("the store failed")
)

// IsPlace says whether a text of a command line names a place, and not a file: an S3
// URL, a directory that is there, or a path that ends with a slash.
func IsPlace(text string) bool {
	if strings.HasPrefix(text, schemeS3) || strings.HasSuffix(text, "/") {
		return true
	}
	i, err := os.Stat(text)
	return err == nil && i.IsDir()
}

// Open gives the place that a text names, and the name of an archive in it, where the
// text names one: s3://bucket/prefix, s3://bucket/prefix/fleet-….archive, a directory.
// It reaches nothing.
func Open(text string, getenv func(string) string) (place Place, name string, err error) {
	if !strings.HasPrefix(text, schemeS3) {
		return Directory(text), "", nil
	}
	if at := strings.LastIndexByte(text, '/'); strings.HasSuffix(text, suffix) && at > len(schemeS3) {
		text, name = text[:at], text[at+1:]
	}
	place, err = newS3(text, getenv)
	return place, name, err
}

// Directory is a directory as a place, such as a mounted volume.
type Directory string

var _ Place = Directory("")

func (d Directory) String() string { return string(d) }

// Put implements Place. A file that is in the directory already is renamed. What it
// stored outlives a power cut.
func (d Directory) Put(ctx context.Context, name, file string, progress func(done, total uint64)) error {
	d.sweep(time.Now())
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	to := filepath.Join(string(d), name)
	if filepath.Dir(file) == filepath.Clean(string(d)) {
		if err := in.Sync(); err != nil {
			return err
		}
		if err := os.Rename(file, to); err != nil {
			return err
		}
		return d.sync()
	}
	out, err := os.CreateTemp(string(d), "."+name+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // fails once it is renamed
	_, err = io.Copy(out, &counted{ctx: ctx, r: in, total: sizeOf(in), report: progress})
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	if err := os.Rename(out.Name(), to); err != nil {
		return err
	}
	return d.sync()
}

// leftover is the form of the names of files that Put writes before they get their own.
var leftover = regexp.MustCompile(`^\.fleet-[0-9A-Z]{26}-[0-9]{8}T[0-9]{6}Z\.archive(\.verified)?-[0-9]+$`)

// sweep removes what runs that were killed in Put left behind: files to which nothing was
// written for a day. One that cannot be removed stays for the next time.
func (d Directory) sweep(now time.Time) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return // Put says what is wrong with the directory
	}
	for _, e := range entries {
		if !leftover.MatchString(e.Name()) {
			continue
		}
		if i, err := e.Info(); err == nil && i.Mode().IsRegular() && now.Sub(i.ModTime()) > unfinished {
			_ = os.Remove(filepath.Join(string(d), e.Name()))
		}
	}
}

// sync makes sure that a power cut takes no name back.
func (d Directory) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Get implements Place.
func (d Directory) Get(ctx context.Context, name string, w io.Writer, progress func(done, total uint64)) error {
	f, err := os.Open(filepath.Join(string(d), name))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, &counted{ctx: ctx, r: f, total: sizeOf(f), report: progress})
	return err
}

// List implements Place.
func (d Directory) List(context.Context) ([]File, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNoPlace, err)
	}
	if err != nil {
		return nil, err
	}
	var all []File
	for _, e := range entries {
		i, err := e.Info()
		if err != nil || !i.Mode().IsRegular() {
			continue // gone meanwhile, or no file
		}
		all = append(all, File{e.Name(), i.Size(), i.ModTime()})
	}
	return all, nil
}

// Remove implements Place.
func (d Directory) Remove(_ context.Context, name string) error {
	err := os.Remove(filepath.Join(string(d), name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func sizeOf(f *os.File) uint64 {
	i, err := f.Stat()
	if err != nil {
		return 0
	}
	return uint64(i.Size())
}

// counted reads until its context ends, and tells how much it has read.
type counted struct {
	ctx         context.Context
	r           io.Reader
	done, total uint64
	report      func(done, total uint64)
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.done += uint64(n)
	if c.report != nil {
		c.report(c.done, c.total)
	}
	return n, err
}
