package clustertest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// pauseImage is the one that containerd.toml names.
const pauseImage = "localhost/pause:1"

// Program is an image from scratch with one static program.
type Program struct {
	Image string // its name; a tag other than latest, so that no pod pulls it
	File  string // the program on this machine
	Path  string // the program in the image, whose PATH has it
	User  string // a number, so that kubelet can tell that it is not root
}

// Import puts the image of a program into the node's store.
func (n *Node) Import(t testing.TB, p Program) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	if err := n.importProgram(ctx, p); err != nil {
		t.Fatal(err)
	}
}

// ImportArchive puts what a docker archive or an OCI archive has into the node's store.
func (n *Node) ImportArchive(t testing.TB, file string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	if err := n.importArchive(ctx, file); err != nil {
		t.Fatal(err)
	}
}

func (n *Node) importArchive(ctx context.Context, file string) error {
	_, err := n.enter(ctx, "ctr", "--namespace", "k8s.io", "images", "import", file)
	return err
}

func (n *Node) importPause(ctx context.Context) error {
	return n.importProgram(ctx, Program{Image: pauseImage, File: filepath.Join(n.binaries, "pause"), Path: "/pause", User: "65532"})
}

func (n *Node) importProgram(ctx context.Context, p Program) error {
	image, err := p.image()
	if err != nil {
		return fmt.Errorf("image %s: %w", p.Image, err)
	}
	tag, err := name.NewTag(p.Image)
	if err != nil {
		return err
	}
	file := filepath.Join(n.state, path.Base(p.File)+".tar")
	err = errors.Join(tarball.WriteToFile(file, tag, image), n.importArchive(ctx, file))
	return errors.Join(err, os.Remove(file))
}

func (p Program) image() (v1.Image, error) {
	content, err := os.ReadFile(p.File)
	if err != nil {
		return nil, err
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	err = w.WriteHeader(&tar.Header{Name: p.Path[1:], Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg})
	_, err2 := w.Write(content)
	if err := errors.Join(err, err2, w.Close()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: []string{p.Path}, User: p.User, Env: []string{"PATH=" + path.Dir(p.Path)}}
	return mutate.ConfigFile(image, config)
}
