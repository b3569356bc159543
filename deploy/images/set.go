package images

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// Set is images that go together, such as those of one release.
type Set []Image

// LocalRepository is what the images are called below where no registry has them:
// localhost/fleet-operator, as the samples' image is localhost/fleet-hello.
const LocalRepository = "localhost"

// Annotations by which an image layout says how its images are called: OCI's (image-spec
// 1.1, annotations.md) and containerd's, which ctr images import takes whole.
const (
	refName        = "org.opencontainers.image.ref.name"
	containerdName = "io.containerd.image.name"
)

// Reference is how an image is called below a repository: registry.example/fleet gives
// registry.example/fleet/fleet-operator:v1.2.3.
func (i Image) Reference(repository string) string {
	return strings.TrimSuffix(repository, "/") + "/" + i.Name + ":" + i.Tag
}

// Named is how an image is called in a registry.
type Named struct {
	Name   string `json:"name"`
	Tag    string `json:"tag"`    // registry.example/fleet/fleet-operator:v1.2.3
	Digest string `json:"digest"` // registry.example/fleet/fleet-operator@sha256:…
}

// At is how the image is called below a repository.
func (i Image) At(repository string) (Named, error) {
	digest, err := i.Digest()
	if err != nil {
		return Named{}, fmt.Errorf("image %s: %w", i.Name, err)
	}
	repository = strings.TrimSuffix(repository, "/")
	return Named{i.Name, i.Reference(repository), repository + "/" + i.Name + "@" + digest.String()}, nil
}

// CheckRepository says what is wrong with the name that images shall have below it.
func CheckRepository(repository string) error {
	if _, err := name.NewRepository(strings.TrimSuffix(repository, "/")+"/image", name.StrictValidation); err != nil {
		return fmt.Errorf("%q is no place for images: give REGISTRY/PREFIX, such as registry.example.com/fleet, in small letters", repository)
	}
	return nil
}

// sorted is the set in the order in which it is written.
func (s Set) sorted() Set {
	return slices.SortedFunc(slices.Values(s), func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Tag, b.Tag))
	})
}

// WriteLayout writes the set as an OCI image layout (image-spec 1.1, image-layout.md) in
// place of the one that dir has, or where nothing is. The images are named below
// repository.
func (s Set) WriteLayout(dir, repository string) error {
	if err := CheckRepository(repository); err != nil {
		return err
	}
	if err := layoutOrNothing(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), ".layout-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	if err := os.Chmod(made, 0o755); err != nil {
		return err
	}
	l, err := layout.Write(made, empty.Index)
	if err != nil {
		return fmt.Errorf("image layout: %w", err)
	}
	for _, image := range s.sorted() {
		ref := image.Reference(repository)
		if err := l.AppendIndex(image.Index, layout.WithAnnotations(map[string]string{refName: ref, containerdName: ref})); err != nil {
			return fmt.Errorf("image layout: %s: %w", ref, err)
		}
		for _, a := range image.Attached {
			if err := l.AppendImage(a); err != nil {
				return fmt.Errorf("image layout: attached to %s: %w", ref, err)
			}
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(made, dir)
}

// layoutOrNothing refuses a folder that has other things, which WriteLayout would remove.
func layoutOrNothing(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains([]string{"blobs", "index.json", "oci-layout"}, e.Name()) {
			return fmt.Errorf("%s has %s, which is no part of an image layout: give a folder of its own", dir, e.Name())
		}
	}
	return nil
}

// ReadLayout reads the images of an OCI image layout that are named, with what is
// attached to them. It gives the repository that they are named below too. The layout must
// be there for as long as the set is used: layers are read, and compared with their
// digests, as they are used.
func ReadLayout(files fs.FS) (s Set, repository string, err error) {
	l := ociLayout{files}
	root, err := l.root()
	if err != nil {
		return nil, "", fmt.Errorf("image layout: %w", err)
	}
	attached := map[v1.Hash][]v1.Image{}
	seen := map[v1.Hash]bool{}
	for _, d := range root.Manifests {
		ref := d.Annotations[refName]
		switch {
		case ref != "" && d.MediaType.IsIndex():
			image, below, err := named(ref)
			if err != nil {
				return nil, "", fmt.Errorf("image layout: %w", err)
			}
			if repository != "" && below != repository {
				return nil, "", fmt.Errorf("image layout: %s is not below %s, as the others are", ref, repository)
			}
			repository = below
			if image.Index, err = l.index(d); err != nil {
				return nil, "", fmt.Errorf("image layout: %s: %w", ref, err)
			}
			s = append(s, image)
		case ref == "" && d.MediaType.IsImage() && !seen[d.Digest]:
			seen[d.Digest] = true
			a, err := l.image(d)
			if err != nil {
				return nil, "", fmt.Errorf("image layout: %w", err)
			}
			m, err := a.Manifest()
			if err != nil {
				return nil, "", fmt.Errorf("image layout: %w", err)
			}
			if m.Subject != nil {
				attached[m.Subject.Digest] = append(attached[m.Subject.Digest], a)
			}
		}
	}
	if len(s) == 0 {
		return nil, "", errors.New("image layout: it has no image for several platforms that is named")
	}
	for i := range s {
		m, err := s[i].Index.IndexManifest()
		if err != nil {
			return nil, "", fmt.Errorf("image layout: %s: %w", s[i].Name, err)
		}
		for _, d := range m.Manifests {
			s[i].Attached = append(s[i].Attached, attached[d.Digest]...)
		}
	}
	return s.sorted(), repository, nil
}

// named takes a reference apart: registry.example/fleet/fleet-operator:v1.2.3.
func named(ref string) (i Image, repository string, err error) {
	if _, err := name.NewTag(ref, name.StrictValidation); err != nil {
		return Image{}, "", fmt.Errorf("the image's name %.200q has no tag, or is none", ref)
	}
	slash, colon := strings.LastIndex(ref, "/"), strings.LastIndex(ref, ":")
	if slash < 0 {
		return Image{}, "", fmt.Errorf("the image's name %.200q has no registry", ref)
	}
	return Image{Name: ref[slash+1 : colon], Tag: ref[colon+1:]}, ref[:slash], nil
}

// forPlatform is the image for a platform.
func (i Image) forPlatform(p v1.Platform) (v1.Image, error) {
	m, err := i.Index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.Name, err)
	}
	var others []string
	for _, d := range m.Manifests {
		if d.Platform == nil {
			continue
		}
		if d.Platform.Satisfies(p) {
			return i.Index.Image(d.Digest)
		}
		others = append(others, d.Platform.String())
	}
	return nil, fmt.Errorf("image %s is not for %s, but for %s", i.Name, p, strings.Join(others, ", "))
}
