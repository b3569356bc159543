package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// archived is an entry of manifest.json in a docker archive.
type archived struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// WriteArchive writes the images of one platform as a docker archive, which docker load,
// podman load, ctr images import, k3d image import and kind load image-archive take. The
// images are named below repository. The same images give the same bytes.
func (s Set) WriteArchive(w io.Writer, p v1.Platform, repository string) error {
	if err := CheckRepository(repository); err != nil {
		return err
	}
	a := archiveWriter{w: tar.NewWriter(w)}
	var manifest []archived
	for _, image := range s.sorted() {
		one, err := image.forPlatform(p)
		if err != nil {
			return err
		}
		entry, err := a.image(one)
		if err != nil {
			return fmt.Errorf("docker archive: %s: %w", image.Name, err)
		}
		entry.RepoTags = []string{image.Reference(repository)}
		manifest = append(manifest, entry)
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return fmt.Errorf("docker archive: %w", err)
	}
	if err := a.file("manifest.json", int64(len(text)), bytes.NewReader(text)); err != nil {
		return fmt.Errorf("docker archive: %w", err)
	}
	if err := a.w.Close(); err != nil {
		return fmt.Errorf("docker archive: %w", err)
	}
	return nil
}

// archiveWriter writes each file once.
type archiveWriter struct {
	w       *tar.Writer
	written []string
}

func (a *archiveWriter) image(image v1.Image) (archived, error) {
	config, err := image.RawConfigFile()
	if err != nil {
		return archived{}, err
	}
	id, err := image.ConfigName()
	if err != nil {
		return archived{}, err
	}
	entry := archived{Config: id.Hex + ".json"}
	if err := a.file(entry.Config, int64(len(config)), bytes.NewReader(config)); err != nil {
		return archived{}, err
	}
	layers, err := image.Layers()
	if err != nil {
		return archived{}, err
	}
	for _, l := range layers {
		file, err := a.layer(l)
		if err != nil {
			return archived{}, err
		}
		entry.Layers = append(entry.Layers, file)
	}
	return entry, nil
}

func (a *archiveWriter) layer(l v1.Layer) (file string, err error) {
	digest, err := l.Digest()
	if err != nil {
		return "", err
	}
	size, err := l.Size()
	if err != nil {
		return "", err
	}
	file = digest.Hex + ".tar.gz"
	if slices.Contains(a.written, file) {
		return file, nil
	}
	content, err := l.Compressed()
	if err != nil {
		return "", err
	}
	defer content.Close()
	return file, a.file(file, size, content)
}

func (a *archiveWriter) file(name string, size int64, content io.Reader) error {
	if slices.Contains(a.written, name) {
		return nil
	}
	a.written = append(a.written, name)
	if err := a.w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
	}); err != nil {
		return err
	}
	switch n, err := io.Copy(a.w, content); {
	case errors.Is(err, tar.ErrWriteTooLong):
		return fmt.Errorf("%s has more than its %d bytes", name, size)
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case n < size:
		return fmt.Errorf("%s has %d bytes, not %d", name, n, size)
	}
	return nil
}
