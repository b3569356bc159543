package images

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// twoImages are of the same program, so that they have all layers but one in common.
func twoImages(t *testing.T) Set {
	t.Helper()
	one, _ := sharedImage(t)
	other := one
	other.Name = "fleet-other"
	return Set{one, other}
}

func TestALayoutIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	s := twoImages(t)
	dir := filepath.Join(t.TempDir(), "images", "oci")
	for range 2 { // the second takes the place of the first
		if err := s.WriteLayout(dir, "registry.example.com/fleet"); err != nil {
			t.Fatal(err)
		}
	}
	read, repository, err := ReadLayout(os.DirFS(dir))
	if err != nil || repository != "registry.example.com/fleet" || len(read) != 2 {
		t.Fatalf("%d images below %q: %v", len(read), repository, err)
	}
	for i, want := range []string{"fleet-other", "fleet-test"} {
		got := read[i]
		if got.Name != want || got.Tag != "v1.2.3_4" || digest(t, got) != digest(t, s[0]) || len(got.Attached) != 3 {
			t.Errorf("image %s:%s, %s, with %d attached", got.Name, got.Tag, digest(t, got), len(got.Attached))
		}
		if err := validate.Index(got.Index); err != nil {
			t.Error(err)
		}
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil || !strings.Contains(string(index), `"org.opencontainers.image.ref.name": "registry.example.com/fleet/fleet-test:v1.2.3_4"`) {
		t.Errorf("index.json: %s (%v)", index, err)
	}
}

func TestAFolderWithOtherThingsIsNoPlaceForALayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := twoImages(t).WriteLayout(dir, LocalRepository); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("got %v", err)
	}
	if _, _, err := ReadLayout(os.DirFS(dir)); err == nil || !strings.Contains(err.Error(), "it is no OCI image layout") {
		t.Errorf("got %v", err)
	}
	if err := twoImages(t).WriteLayout(filepath.Join(dir, "x"), "Registry.example.com/Fleet"); err == nil || !strings.Contains(err.Error(), "in small letters") {
		t.Errorf("got %v", err)
	}
}

func TestADamagedBlobOfALayoutIsNoticed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "oci")
	if err := twoImages(t).WriteLayout(dir, LocalRepository); err != nil {
		t.Fatal(err)
	}
	one, err := twoImages(t)[0].forPlatform(Platforms()[0])
	if err != nil {
		t.Fatal(err)
	}
	layers, err := one.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "blobs", "sha256", d.Hex)
	content, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(blob, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err := ReadLayout(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteArchive(&bytes.Buffer{}, Platforms()[0], LocalRepository); err == nil || !strings.Contains(err.Error(), d.Hex+" is damaged") {
		t.Errorf("got %v", err)
	}
}

func TestADockerArchiveHasTheImagesOfOnePlatform(t *testing.T) {
	t.Parallel()
	s := twoImages(t)
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := s.WriteArchive(w, Platforms()[2], LocalRepository); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two archives of the same images differ")
	}
	file := filepath.Join(t.TempDir(), "images.tar")
	if err := os.WriteFile(file, first.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"localhost/fleet-test:v1.2.3_4", "localhost/fleet-other:v1.2.3_4"} {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		image, err := tarball.ImageFromPath(file, &tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(image); err != nil {
			t.Error(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"arm64", "linux"}, []string{config.Architecture, config.OS}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ref, diff)
		}
	}
}
