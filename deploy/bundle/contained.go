package bundle

import (
	"fmt"
	"path"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/deploy/images"
)

// describe is what bundle.json says of images, in their order.
func describe(set images.Set) ([]Image, error) {
	var all []Image
	seen := map[string]bool{}
	for _, image := range set {
		called := image.Name + ":" + image.Tag
		if seen[called] {
			return nil, fmt.Errorf("two images are called %s", called)
		}
		seen[called] = true
		digest, err := image.Digest()
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", image.Name, err)
		}
		list, err := image.Index.IndexManifest()
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", image.Name, err)
		}
		one := Image{Name: image.Name, Tag: image.Tag, Digest: digest.String(), Source: image.Source}
		for _, d := range list.Manifests {
			m := Manifest{Digest: d.Digest.String()}
			if d.Platform != nil {
				m.Platform = d.Platform.String()
			}
			one.Manifests = append(one.Manifests, m)
		}
		all = append(all, one)
	}
	return all, nil
}

// checkImages compares what bundle.json says of the images with the image layout. A blob
// of the layout is called by its SHA-256, so a digest stands for all that an image is of.
func (b *Bundle) checkImages() error {
	for _, p := range b.index.Parts {
		if dir, name := path.Split(p.Path); dir == imagesDir+"/blobs/sha256/" && name != p.SHA256 {
			return fmt.Errorf("the part %s has the SHA-256 %s, and is called by another", p.Path, p.SHA256)
		}
	}
	set, err := b.layout()
	if err != nil {
		return err
	}
	all, err := describe(set)
	if err != nil {
		return err
	}
	if len(all) != len(b.index.Images) {
		return fmt.Errorf("bundle.json lists %d images, and the image layout has %d", len(b.index.Images), len(all))
	}
	for i, is := range all {
		switch said := b.index.Images[i]; {
		case said.Name != is.Name || said.Tag != is.Tag:
			return fmt.Errorf("bundle.json lists the image %.100q where the image layout has %.100q", said.Name+":"+said.Tag, is.Name+":"+is.Tag)
		case said.Digest != is.Digest:
			return fmt.Errorf("bundle.json says that the digest of the image %s is %.100q; it is %s", is.Name, said.Digest, is.Digest)
		case !slices.Equal(said.Manifests, is.Manifests):
			return fmt.Errorf("bundle.json says of the image %s other digests of platforms than its index has", is.Name)
		}
	}
	return b.checkPlatforms(all)
}

// checkPlatforms says which image is not for a platform that bundle.json names.
func (b *Bundle) checkPlatforms(all []Image) error {
	for _, text := range b.index.Platforms {
		p, err := v1.ParsePlatform(text)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return fmt.Errorf("bundle.json names a platform %.100q, which is none", text)
		}
		for _, image := range all {
			if !slices.ContainsFunc(image.Manifests, func(m Manifest) bool {
				of, err := v1.ParsePlatform(m.Platform)
				return err == nil && of.Satisfies(*p)
			}) {
				return fmt.Errorf("bundle.json names the platform %s, and the image %s is not for it", text, image.Name)
			}
		}
	}
	return nil
}
