package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// RootsFile has the roots of the public CAs in each image, where Go and OpenSSL look
// for it. A file may be mounted in its place.
const RootsFile = "/etc/ssl/certs/ca-certificates.crt"

// rootsLayer has the roots of public CAs that Mozilla trusts without a restriction. A
// file of certificates cannot say a restriction, so that restricted ones are not there.
// The layer is the same in all images of a build.
func rootsLayer() (v1.Layer, error) {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, fmt.Errorf("roots of public CAs: %w", err)
		}
	}
	return fileLayer(RootsFile, 0o444, int64(text.Len()), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text.Bytes())), nil
	})
}

// programLayer has a program, which everybody may run and nobody may change.
func programLayer(name string, b binary) (v1.Layer, error) {
	return fileLayer(path.Join(BinaryDir, name), 0o555, b.size, func() (io.ReadCloser, error) { return os.Open(b.path) })
}

// fileLayer is a layer of one file and of the folders above it. All are of user 0 and
// group 0, and the group has the owner's rights to the file, so that it works for each
// user id. The times are fixed.
func fileLayer(name string, mode, size int64, open func() (io.ReadCloser, error)) (v1.Layer, error) {
	before, after, err := around(name, mode, size)
	if err != nil {
		return nil, fmt.Errorf("layer with %s: %w", name, err)
	}
	whole := func() (io.ReadCloser, error) {
		content, err := open()
		if err != nil {
			return nil, err
		}
		return &readCloser{io.MultiReader(bytes.NewReader(before), &exactly{content, size}, bytes.NewReader(after)), content}, nil
	}
	l, err := tarball.LayerFromOpener(whole,
		tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.DefaultCompression),
		tarball.WithCompressedCaching, // each is read for its digest, for the layout and for the archive
	)
	if err != nil {
		return nil, fmt.Errorf("layer with %s: %w", name, err)
	}
	return l, nil
}

// around gives what a tar of one file has before and after the file's content.
func around(name string, mode, size int64) (before, after []byte, err error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := func(h tar.Header) error {
		h.ModTime, h.Format = time.Unix(0, 0), tar.FormatUSTAR
		return w.WriteHeader(&h)
	}
	folder := ""
	for part := range strings.SplitSeq(strings.Trim(path.Dir(name), "/"), "/") {
		folder += part + "/"
		if err := header(tar.Header{Typeflag: tar.TypeDir, Name: folder, Mode: 0o755}); err != nil {
			return nil, nil, err
		}
	}
	if err := header(tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(name, "/"), Mode: mode, Size: size}); err != nil {
		return nil, nil, err
	}
	const block = 512
	padding := (block - size%block) % block
	return b.Bytes(), make([]byte, padding+2*block), nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// exactly reads a number of bytes, and fails where there are fewer or more.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		if n, err := e.r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
			return 0, errors.New("the file grew while it was read")
		}
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		return n, errors.New("the file shrank while it was read")
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
