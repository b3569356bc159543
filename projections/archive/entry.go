package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
)

// block is what a tar file is made of.
const block = 512

// tail is what ends a tar file.
const tail = 2 * block

// maxJSON bounds what an entry that is not the log's makes this program read.
const maxJSON = 64 << 20

// entry gives the bytes of one entry of the file. They depend on nothing but the
// arguments.
func entry(name string, content []byte, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o600,
		ModTime: at.Truncate(time.Second), Format: tar.FormatUSTAR,
	})
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", name, err)
	}
	if _, err := w.Write(content); err != nil {
		return nil, fmt.Errorf("entry %s: %w", name, err)
	}
	if err := w.Flush(); err != nil {
		return nil, fmt.Errorf("entry %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func chunkName(number int, sum string) string { return fmt.Sprintf("%s%08d.%s", dirLog, number, sum) }

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// parseChunk reads a chunk's name; false for other names.
func parseChunk(name string) (number int, sum string, ok bool) {
	rest, ok := strings.CutPrefix(name, dirLog)
	if !ok {
		return 0, "", false
	}
	digits, sum, ok := strings.Cut(rest, ".")
	number, err := strconv.Atoi(digits)
	return number, sum, ok && err == nil && name == chunkName(number, sum)
}

// scanner reads the entries of a file from its beginning.
type scanner struct {
	tar   *tar.Reader
	count *counter
}

// counter knows how much was read, and hashes it.
type counter struct {
	r   io.Reader
	n   int64
	sum hash.Hash
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	return n, err
}

func newScanner(r io.Reader) *scanner {
	c := &counter{r: r, sum: sha256.New()}
	return &scanner{tar: tar.NewReader(c), count: c}
}

var errStrange = errors.New("unknown tar entry")

// next gives the next entry and where its content begins. It fails with io.EOF
// at the file's end, and io.ErrUnexpectedEOF where that comes too soon.
func (s *scanner) next(most int64) (name string, content []byte, at int64, err error) {
	h, err := s.tar.Next()
	if err != nil {
		return "", nil, 0, err
	}
	at = s.count.n
	if h.Typeflag != tar.TypeReg || h.Size > most || h.Size < 0 {
		return h.Name, nil, at, errStrange
	}
	content = make([]byte, h.Size)
	_, err = io.ReadFull(s.tar, content)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return h.Name, content, at, err
}

// sumUpTo reads on to an offset, and gives the SHA-256 of all that stands before
// it. No entry can be asked for afterwards.
func (s *scanner) sumUpTo(at int64) (string, error) {
	if _, err := io.CopyN(io.Discard, s.count, at-s.count.n); err != nil {
		return "", io.ErrUnexpectedEOF
	}
	return hex.EncodeToString(s.count.sum.Sum(nil)), nil
}

func padded(size int64) int64 { return (size + block - 1) / block * block }
