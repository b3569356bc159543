package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/deploy/images"
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
			file := filepath.Join(o.out, "fleet-images-"+images.FileName(p)+".tar")
			if err := o.writeArchive(file, p); err != nil {
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

// writeArchive writes to another name until all is written.
func (o *output) writeArchive(file string, p v1.Platform) error {
	part, err := os.Create(file + ".part")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	defer part.Close()
	buffered := bufio.NewWriterSize(part, 1<<20)
	if err := o.set.WriteArchive(buffered, p, o.repository); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if err := part.Close(); err != nil {
		return err
	}
	return os.Rename(part.Name(), file)
}
