package images

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxManifest is the most bytes that a manifest or a configuration may have: what
// registries take at most.
const maxManifest = 4 << 20

// ociLayout is an OCI image layout (image-spec 1.1, image-layout.md) that is read. All
// that is read of it is compared with its digest.
type ociLayout struct{ files fs.FS }

// root is the list of what the layout has.
func (l ociLayout) root() (*v1.IndexManifest, error) {
	text, err := fs.ReadFile(l.files, "oci-layout")
	if err != nil {
		return nil, fmt.Errorf("it is no OCI image layout: %w", err)
	}
	var head struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(text, &head); err != nil || head.Version != "1.0.0" {
		return nil, fmt.Errorf("it is no OCI image layout of version 1.0.0: oci-layout has %.100q", text)
	}
	f, err := l.files.Open("index.json")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return v1.ParseIndexManifest(io.LimitReader(f, maxManifest))
}

// blob opens a blob, whose size and digest are compared at the end of reading.
func (l ociLayout) blob(d v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest.Algorithm != "sha256" {
		return nil, fmt.Errorf("the digest %s is not SHA-256", d.Digest)
	}
	f, err := l.files.Open(path.Join("blobs", "sha256", d.Digest.Hex))
	if err != nil {
		return nil, err
	}
	return &checked{ReadCloser: f, of: d, sum: sha256.New()}, nil
}

// small reads a manifest or a configuration.
func (l ociLayout) small(d v1.Descriptor) ([]byte, error) {
	if d.Size > maxManifest {
		return nil, fmt.Errorf("the blob %s has %d bytes, and is to be a manifest", d.Digest, d.Size)
	}
	r, err := l.blob(d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// checked fails at the end of content that is not what it is called.
type checked struct {
	io.ReadCloser
	of   v1.Descriptor
	sum  hash.Hash
	read int64
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.sum.Write(p[:n])
	c.read += int64(n)
	if c.read > c.of.Size || errors.Is(err, io.EOF) && (c.read != c.of.Size || hex.EncodeToString(c.sum.Sum(nil)) != c.of.Digest.Hex) {
		return n, fmt.Errorf("the blob %s is damaged", c.of.Digest)
	}
	return n, err
}

// layoutIndex is an image index of a layout.
type layoutIndex struct {
	in   ociLayout
	desc v1.Descriptor
	raw  []byte
	list *v1.IndexManifest
}

var _ v1.ImageIndex = (*layoutIndex)(nil)

func (l ociLayout) index(d v1.Descriptor) (*layoutIndex, error) {
	raw, err := l.small(d)
	if err != nil {
		return nil, err
	}
	list, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("image index %s: %w", d.Digest, err)
	}
	return &layoutIndex{l, d, raw, list}, nil
}

func (i *layoutIndex) MediaType() (types.MediaType, error)       { return i.desc.MediaType, nil }
func (i *layoutIndex) Digest() (v1.Hash, error)                  { return i.desc.Digest, nil }
func (i *layoutIndex) Size() (int64, error)                      { return int64(len(i.raw)), nil }
func (i *layoutIndex) RawManifest() ([]byte, error)              { return i.raw, nil }
func (i *layoutIndex) IndexManifest() (*v1.IndexManifest, error) { return i.list, nil }

func (i *layoutIndex) find(h v1.Hash) (v1.Descriptor, error) {
	for _, d := range i.list.Manifests {
		if d.Digest == h {
			return d, nil
		}
	}
	return v1.Descriptor{}, fmt.Errorf("image index %s does not have %s", i.desc.Digest, h)
}

func (i *layoutIndex) Image(h v1.Hash) (v1.Image, error) {
	d, err := i.find(h)
	if err != nil {
		return nil, err
	}
	return i.in.image(d)
}

func (i *layoutIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	d, err := i.find(h)
	if err != nil {
		return nil, err
	}
	return i.in.index(d)
}

// layoutImage is an image of a layout.
type layoutImage struct {
	in       ociLayout
	desc     v1.Descriptor
	raw      []byte
	manifest *v1.Manifest
}

var _ partial.CompressedImageCore = (*layoutImage)(nil)

func (l ociLayout) image(d v1.Descriptor) (v1.Image, error) {
	raw, err := l.small(d)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("image manifest %s: %w", d.Digest, err)
	}
	return partial.CompressedToImage(&layoutImage{l, d, raw, m})
}

func (i *layoutImage) MediaType() (types.MediaType, error) { return i.desc.MediaType, nil }
func (i *layoutImage) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *layoutImage) RawConfigFile() ([]byte, error)      { return i.in.small(i.manifest.Config) }

func (i *layoutImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range append([]v1.Descriptor{i.manifest.Config}, i.manifest.Layers...) {
		if d.Digest == h {
			return layoutLayer{i.in, d}, nil
		}
	}
	return nil, fmt.Errorf("image manifest %s does not have the layer %s", i.desc.Digest, h)
}

// layoutLayer is a blob of an image.
type layoutLayer struct {
	in   ociLayout
	desc v1.Descriptor
}

func (l layoutLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l layoutLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l layoutLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l layoutLayer) Compressed() (io.ReadCloser, error)  { return l.in.blob(l.desc) }

// Descriptor keeps what else the manifest says of the layer.
func (l layoutLayer) Descriptor() (*v1.Descriptor, error) { return &l.desc, nil }
