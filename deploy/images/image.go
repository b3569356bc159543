package images

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is one program for several platforms.
type Image struct {
	Name string // the last part of the repository's name: fleet-operator
	Tag  string
	// Source is where another's image was pulled from; empty for one of ours.
	Source string
	Index  v1.ImageIndex
	// Attached are artifacts such as bills of materials, each with the digest of the
	// image of one platform as its subject.
	Attached []v1.Image
}

// Digest is the digest of the image index.
func (i Image) Digest() (v1.Hash, error) { return i.Index.Digest() }

// Builder makes images. They have a layer in common.
type Builder struct {
	release Release
	roots   v1.Layer
}

// NewBuilder makes a Builder for one release.
func NewBuilder(r Release) (*Builder, error) {
	if r.Tag() == "" {
		return nil, errors.New("the release has no version")
	}
	roots, err := rootsLayer()
	if err != nil {
		return nil, err
	}
	return &Builder{release: r, roots: roots}, nil
}

// Build makes the image of a program of its binaries, one for each platform. It gives the
// bills of materials too, in the order of the platforms.
func (b *Builder) Build(p Program, paths []string) (Image, []SBOM, error) {
	var binaries []binary
	for _, path := range paths {
		found, err := readBinary(path, b.release.Version)
		if err != nil {
			return Image{}, nil, fmt.Errorf("image %s: %w", p.Name, err)
		}
		for _, other := range binaries {
			switch {
			case other.platform.Equals(found.platform):
				return Image{}, nil, fmt.Errorf("image %s: %s and %s are both for %s", p.Name, other.path, path, found.platform)
			case other.info.Commit != found.info.Commit || other.build.GoVersion != found.build.GoVersion || other.build.Path != found.build.Path:
				return Image{}, nil, fmt.Errorf("image %s: %s is of %s, %s, and %s of %s, %s; build both again", p.Name,
					other.path, other.build.Path, other.info.Build(), path, found.build.Path, found.info.Build())
			}
		}
		binaries = append(binaries, found)
	}
	if len(binaries) == 0 {
		return Image{}, nil, fmt.Errorf("image %s: no binary was given", p.Name)
	}
	slices.SortFunc(binaries, func(a, b binary) int { return cmp.Compare(a.platform.String(), b.platform.String()) })

	image := Image{Name: p.Name, Tag: b.release.Tag()}
	var boms []SBOM
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, bin := range binaries {
		one, err := b.one(p, bin)
		if err != nil {
			return Image{}, nil, fmt.Errorf("image %s for %s: %w", p.Name, bin.platform, err)
		}
		subject, err := partial.Descriptor(one)
		if err != nil {
			return Image{}, nil, fmt.Errorf("image %s for %s: %w", p.Name, bin.platform, err)
		}
		bom, attached, err := attachSBOM(p, b.release, bin, *subject)
		if err != nil {
			return Image{}, nil, fmt.Errorf("bill of materials of %s for %s: %w", p.Name, bin.platform, err)
		}
		boms, image.Attached = append(boms, bom), append(image.Attached, attached)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: one, Descriptor: v1.Descriptor{Platform: &bin.platform}})
	}
	first := binaries[0]
	annotated, ok := mutate.Annotations(index, annotations(p, b.release, first.info.Commit, first.created)).(v1.ImageIndex)
	if !ok {
		return Image{}, nil, errors.New("an annotated image index is no image index any more")
	}
	image.Index = annotated
	return image, boms, nil
}

// one is the image for one platform.
func (b *Builder) one(p Program, bin binary) (v1.Image, error) {
	program, err := programLayer(p.Name, bin)
	if err != nil {
		return nil, err
	}
	labels := annotations(p, b.release, bin.info.Commit, bin.created)
	ports := map[string]struct{}{}
	for _, port := range p.Ports {
		ports[strconv.Itoa(port)+"/tcp"] = struct{}{}
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image,
		mutate.Addendum{Layer: b.roots, History: v1.History{Created: v1.Time{Time: bin.created}, CreatedBy: "roots of public CAs"}},
		mutate.Addendum{Layer: program, History: v1.History{Created: v1.Time{Time: bin.created}, CreatedBy: "program " + p.Name}},
	)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = bin.platform.OS, bin.platform.Architecture, bin.platform.Variant
	config.Created = v1.Time{Time: bin.created}
	config.Config = v1.Config{
		User:         User,
		Entrypoint:   []string{BinaryDir + "/" + p.Name},
		Env:          []string{"PATH=" + BinaryDir, "HOME=/"},
		WorkingDir:   "/",
		Labels:       labels,
		ExposedPorts: ports,
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(image, labels).(v1.Image)
	if !ok {
		return nil, errors.New("an annotated image is no image any more")
	}
	return annotated, nil
}
