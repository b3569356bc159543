package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/deploy/images"
	"fleet.nationtech.io/deploy/wholefile"
)

// output is what is made of a set of images.
type output struct {
	settings
	set  images.Set
	boms []images.SBOM
	say  func(format string, args ...any)
}

func (o *output) write(ctx context.Context) error {
	oci := filepath.Join(o.out, "oci")
	if err := o.set.WriteLayout(oci, o.repository); err != nil {
		return err
	}
	if err := o.writeSBOMs(filepath.Join(o.out, "sbom")); err != nil {
		return err
	}
	if err := o.writeList(filepath.Join(o.out, "images.json")); err != nil {
		return err
	}
	o.say("%s has the images as an OCI layout, %s their bills of materials\n", oci, filepath.Join(o.out, "sbom"))
	if o.archives {
		for _, p := range o.platforms {
			file := o.archive(p)
			if err := wholefile.Stream(file, 0o644, func(w io.Writer) error { return o.set.WriteArchive(w, p, o.repository) }); err != nil {
				return err
			}
			o.say("%s has the images for %s, for docker load and the like\n", file, p)
		}
	}
	if !o.push {
		return nil
	}
	o.registry.Pushed = func(ref string) { o.say("pushed %s\n", ref) }
	_, err := o.set.Push(ctx, o.repository, o.registry)
	return err
}

func (o *output) writeSBOMs(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, bom := range o.boms {
		if err := os.WriteFile(filepath.Join(dir, bom.FileName()), bom.JSON, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeList writes how the images are called, with their digests, and prints it.
func (o *output) writeList(file string) error {
	var list []images.Named
	for _, image := range o.set {
		named, err := image.At(o.repository)
		if err != nil {
			return err
		}
		o.say("%s\n", named.Digest)
		list = append(list, named)
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the list of images: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// archive is the docker archive for a platform.
func (s *settings) archive(p v1.Platform) string {
	return filepath.Join(s.out, "fleet-images-"+images.FileName(p)+".tar")
}
