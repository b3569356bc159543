package images

import (
	"path/filepath"
	"sync"
	"testing"

	"fleet.nationtech.io/deploy/images/imagestest"
)

var testProgram = Program{Name: imagestest.Name, Description: "Runs.", Ports: []int{8080}}

var testRelease = Release{Version: "v1.2.3+4", Source: "https://fleet.example.org"}

func TestMain(m *testing.M) { imagestest.Main(m) }

// binaries are the program for all platforms.
func binaries(t *testing.T) []string {
	t.Helper()
	dir := imagestest.Programs(t, Platforms())
	var paths []string
	for _, p := range Platforms() {
		paths = append(paths, filepath.Join(dir, FileName(p), imagestest.Name))
	}
	return paths
}

func build(t *testing.T, paths []string) (Image, []SBOM) {
	t.Helper()
	b, err := NewBuilder(testRelease)
	if err != nil {
		t.Fatal(err)
	}
	image, boms, err := b.Build(testProgram, paths)
	if err != nil {
		t.Fatal(err)
	}
	return image, boms
}

// shared is an image of the program and its bills of materials. It is made once, as that
// takes long with the race detector.
var shared struct {
	once  sync.Once
	image Image
	boms  []SBOM
}

func sharedImage(t *testing.T) (Image, []SBOM) {
	t.Helper()
	shared.once.Do(func() { shared.image, shared.boms = build(t, binaries(t)) })
	if shared.image.Index == nil {
		t.Fatal("the image of the tests cannot be made; another test says why")
	}
	return shared.image, shared.boms
}

func digest(t *testing.T, i Image) string {
	t.Helper()
	d, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}
