package images

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Pull finds an image in a registry by its digest: docker.io/library/nats:2.14.2@sha256:….
// It is called by the last part of the repository's name, and by its tag. The layers are
// read from the registry as they are used. Where it is for one platform alone, it becomes
// an index of one image.
func Pull(ctx context.Context, ref string, r Registry) (Image, error) {
	digest, tag, err := byDigest(ref, r)
	if err != nil {
		return Image{}, err
	}
	options, err := r.Remote(ctx)
	if err != nil {
		return Image{}, err
	}
	found, err := remote.Get(digest, options...)
	if err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", ref, Explain(err))
	}
	repository := digest.RepositoryStr()
	image := Image{Name: repository[strings.LastIndex(repository, "/")+1:], Tag: tag, Source: ref}
	if found.MediaType.IsIndex() {
		if image.Index, err = found.ImageIndex(); err != nil {
			return Image{}, fmt.Errorf("pull %s: %w", ref, err)
		}
		return image, nil
	}
	one, err := found.Image()
	if err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	config, err := one.ConfigFile()
	if err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	image.Index = mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add: one, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}},
	})
	return image, nil
}

// byDigest takes a reference apart. Without a tag, the tag is of the digest.
func byDigest(ref string, r Registry) (name.Digest, string, error) {
	var options []name.Option
	if r.Plain {
		options = append(options, name.Insecure)
	}
	digest, err := name.NewDigest(ref, options...)
	if err != nil {
		return name.Digest{}, "", fmt.Errorf("%q does not say which image by its digest, as a tag may be moved: give NAME:TAG@sha256:…", ref)
	}
	before, _, _ := strings.Cut(ref, "@")
	if slash, colon := strings.LastIndex(before, "/"), strings.LastIndex(before, ":"); colon > slash {
		return digest, before[colon+1:], nil
	}
	return digest, strings.Replace(digest.DigestStr(), ":", "-", 1)[:len("sha256-")+12], nil
}

// For gives the set for some platforms alone. An image that has others beside them gets
// another digest by that. What an image has that is of no platform, such as other
// builders' attestations, stays behind.
func (s Set) For(all []v1.Platform) (Set, error) {
	var some Set
	for _, image := range s.sorted() {
		m, err := image.Index.IndexManifest()
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", image.Name, err)
		}
		wanted := func(d v1.Descriptor) bool {
			return d.Platform != nil && slices.ContainsFunc(all, d.Platform.Satisfies)
		}
		kept := map[v1.Hash]bool{}
		for _, p := range all {
			i := slices.IndexFunc(m.Manifests, func(d v1.Descriptor) bool { return d.Platform != nil && d.Platform.Satisfies(p) })
			if i < 0 {
				return nil, fmt.Errorf("image %s is not for %s", image.Name, p)
			}
			kept[m.Manifests[i].Digest] = true
		}
		if !slices.ContainsFunc(m.Manifests, func(d v1.Descriptor) bool { return !wanted(d) }) {
			some = append(some, image)
			continue
		}
		image.Index = mutate.RemoveManifests(image.Index, func(d v1.Descriptor) bool { return !kept[d.Digest] })
		image.Attached = slices.DeleteFunc(slices.Clone(image.Attached), func(a v1.Image) bool { return !kept[subject(a)] })
		some = append(some, image)
	}
	return some, nil
}

// subject is the digest of the image that an artifact is attached to.
func subject(a v1.Image) v1.Hash {
	m, err := a.Manifest()
	if err != nil || m.Subject == nil {
		return v1.Hash{}
	}
	return m.Subject.Digest
}

// Version gives the version and the commit that the image is of, as its annotations say:
// empty where they do not.
func (i Image) Version() (version, commit string, err error) {
	m, err := i.Index.IndexManifest()
	if err != nil {
		return "", "", fmt.Errorf("image %s: %w", i.Name, err)
	}
	return m.Annotations["org.opencontainers.image.version"], m.Annotations["org.opencontainers.image.revision"], nil
}
