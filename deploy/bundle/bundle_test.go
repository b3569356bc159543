package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"fleet.nationtech.io/deploy/images"
	"fleet.nationtech.io/deploy/images/imagestest"
)

func TestMain(m *testing.M) { imagestest.Main(m) }

var release = images.Release{Version: "v1.2.3", Source: "https://fleet.example.org"}

// shared is the image of the program of the tests. It is made once, as that takes long
// with the race detector.
var shared struct {
	once  sync.Once
	image images.Image
}

func sharedImage(t *testing.T, dir string) images.Image {
	t.Helper()
	shared.once.Do(func() {
		b, err := images.NewBuilder(release)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, p := range images.Platforms() {
			paths = append(paths, filepath.Join(dir, images.FileName(p), imagestest.Name))
		}
		if shared.image, _, err = b.Build(images.Program{Name: imagestest.Name}, paths); err != nil {
			t.Fatal(err)
		}
	})
	if shared.image.Index == nil {
		t.Fatal("the image of the tests cannot be made; another test says why")
	}
	return shared.image
}

// contents are an image of the program of the tests, the program, and a chart.
func contents(t *testing.T, platforms ...v1.Platform) Contents {
	t.Helper()
	dir := imagestest.Programs(t, images.Platforms())
	return Contents{
		Platforms: platforms, Images: images.Set{sharedImage(t, dir)}, Programs: []string{imagestest.Name}, Dir: dir,
		Chart: fstest.MapFS{"Chart.yaml": {Data: []byte("name: fleet\n")}, "templates/nats.yaml": {Data: []byte("kind: StatefulSet\n")}},
	}
}

func write(t *testing.T, c Contents) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fleet.bundle")
	if _, err := Write(t.Context(), file, c, nil); err != nil {
		t.Fatal(err)
	}
	return file
}

func open(t *testing.T, file string) *Bundle {
	t.Helper()
	b, err := Open(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestABundleIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	c := contents(t, images.Platforms()...)
	file := filepath.Join(t.TempDir(), "fleet.bundle")
	written, err := Write(t.Context(), file, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, file)
	if sum := sha256.Sum256(entryOf(t, file, indexFile)); b.Index().SHA256 != hex.EncodeToString(sum[:]) || b.Index().SHA256 != written.SHA256 {
		t.Errorf("bundle.json has the SHA-256 %s, and Write says %s", b.Index().SHA256, written.SHA256)
	}
	if x := b.Index(); x.Version != "v1.2.3" || len(x.Images) != 1 || len(x.Programs) != 3 {
		t.Errorf("it holds %+v", x)
	}
	set, err := b.Images()
	if err != nil {
		t.Fatal(err)
	}
	was, err := c.Images[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := set[0].Digest(); err != nil || got != was || b.Index().Images[0].Digest != was.String() || len(set[0].Attached) != 3 {
		t.Errorf("image %s with %d attached, want %s (%v)", got, len(set[0].Attached), was, err)
	}
	if err := validate.Index(set[0].Index); err != nil {
		t.Error(err)
	}
	for _, p := range images.Platforms() {
		want, err := os.ReadFile(filepath.Join(c.Dir, images.FileName(p), imagestest.Name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Program(imagestest.Name, p.String()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the program for %s is another (%v)", p, err)
		}
	}
	if _, err := b.Program("fleet-agent", "linux/amd64"); err == nil || !strings.Contains(err.Error(), "has no fleet-agent for linux/amd64; it has fleet-test for linux/amd64, fleet-test for") {
		t.Errorf("got %v", err)
	}
	checkChart(t, b)
	again, err := os.ReadFile(write(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if first, err := os.ReadFile(file); err != nil || !bytes.Equal(first, again) {
		t.Errorf("two bundles of the same contents differ (%v)", err)
	}
}

func checkChart(t *testing.T, b *Bundle) {
	t.Helper()
	packed, err := b.ChartArchive()
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if diff := cmp.Diff([]string{"fleet/Chart.yaml", "fleet/templates/nats.yaml"}, names); diff != "" {
		t.Errorf("chart (-want +got):\n%s", diff)
	}
}

// entryOf is an entry of a bundle as tar has it.
func entryOf(t *testing.T, file, name string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != name {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
}

// What a person compares with what the builder published is the same in a bundle with
// fewer platforms: the digest of each platform, and the checksums of programs and chart.
func TestABundleOfSomePlatformsHasTheDigestsOfTheWhole(t *testing.T) {
	t.Parallel()
	amd64 := images.Platforms()[0]
	all, some := open(t, write(t, contents(t, images.Platforms()...))).Index(), open(t, write(t, contents(t, amd64))).Index()
	if all.Images[0].Digest == some.Images[0].Digest || all.SHA256 == some.SHA256 {
		t.Error("the two are one: this test proves nothing")
	}
	if want := (Manifest{amd64.String(), all.Images[0].Manifests[0].Digest}); len(some.Images[0].Manifests) != 1 || some.Images[0].Manifests[0] != want {
		t.Errorf("the image has %v, want %v", some.Images[0].Manifests, want)
	}
	if all.Programs[0] != some.Programs[0] {
		t.Errorf("the program is %v, and of the whole %v", some.Programs[0], all.Programs[0])
	}
	if a, b := all.Parts[0], some.Parts[0]; a.Path != chartFile || a != b {
		t.Errorf("the chart is %v, and of the whole %v", b, a)
	}
}

func TestABundleOfSomePlatformsHasNoOthers(t *testing.T) {
	t.Parallel()
	arm64 := images.Platforms()[2]
	c := contents(t, arm64)
	c.Chart = nil
	b := open(t, write(t, c))
	set, err := b.Images()
	if err != nil {
		t.Fatal(err)
	}
	m, err := set[0].Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 1 || m.Manifests[0].Platform.String() != "linux/arm64" || len(set[0].Attached) != 1 || len(b.Index().Programs) != 1 {
		t.Errorf("images for %v with %d attached, programs %v", m.Manifests, len(set[0].Attached), b.Index().Programs)
	}
	if err := set.WriteArchive(io.Discard, images.Platforms()[0], images.LocalRepository); err == nil || !strings.Contains(err.Error(), "is not for linux/amd64, but for linux/arm64") {
		t.Errorf("got %v", err)
	}
	if _, err := b.ChartArchive(); err == nil || !strings.Contains(err.Error(), "has no Helm chart") {
		t.Errorf("got %v", err)
	}
}

// From one registry into a bundle, and from that into another registry below another
// prefix: the digest stays.
func TestAnotherImageGoesByABundleFromRegistryToRegistry(t *testing.T) {
	t.Parallel()
	serve := func() string {
		srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(srv.Close)
		return strings.TrimPrefix(srv.URL, "http://")
	}
	outside, inside := serve(), serve()
	r := images.Registry{Plain: true, Keychain: authn.NewMultiKeychain()}
	c := contents(t, images.Platforms()...)
	theirs := c.Images[0]
	theirs.Name, theirs.Tag = "nats", "2.15.2"
	pushed, err := images.Set{theirs}.Push(t.Context(), outside+"/library", r)
	if err != nil {
		t.Fatal(err)
	}
	_, digest, _ := strings.Cut(pushed[0].Digest, "@")
	source := outside + "/library/nats:2.15.2@" + digest
	pulled, err := images.Pull(t.Context(), source, r)
	if err != nil {
		t.Fatal(err)
	}
	c.Images = append(c.Images, pulled)
	b := open(t, write(t, c))
	want := b.Index().Images[0] // is the same image under another name
	want.Name, want.Tag, want.Source = "nats", "2.15.2", source
	if diff := cmp.Diff(want, b.Index().Images[1]); diff != "" || want.Digest != digest {
		t.Errorf("the bundle has the image (-want +got)\n%s", diff)
	}
	set, err := b.Images()
	if err != nil {
		t.Fatal(err)
	}
	done, err := set.Push(t.Context(), inside+"/a/b", r)
	if err != nil {
		t.Fatal(err)
	}
	if done[1].Digest != inside+"/a/b/nats@"+digest {
		t.Errorf("pushed %+v", done)
	}
	for _, ref := range []string{outside + "/library/nats:2.15.2", "nats", outside + "/library/nats@sha256:1"} {
		if _, err := images.Pull(t.Context(), ref, r); err == nil || !strings.Contains(err.Error(), "as a tag may be moved") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestWhatDoesNotBelongTogetherIsNoBundle(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*Contents)
		says   string
	}{
		"no image of the fleet":         {func(c *Contents) { c.Images[0].Source = "x" }, "make images first"},
		"an image twice":                {func(c *Contents) { c.Images = append(c.Images, c.Images[0]) }, "two images are called fleet-test:v1.2.3"},
		"a program that is not there":   {func(c *Contents) { c.Programs = []string{"fleet-agent"} }, "fleet-agent: no such file"},
		"a platform without an image":   {func(c *Contents) { c.Platforms = []v1.Platform{{OS: "linux", Architecture: "riscv64"}} }, "is not for linux/riscv64"},
		"a program of another platform": {func(c *Contents) { c.Dir = swapped(t, c.Dir) }, "and wanted is linux/amd64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := contents(t, images.Platforms()[0])
			tt.change(&c)
			dir := t.TempDir()
			if _, err := Write(t.Context(), filepath.Join(dir, "b"), c, nil); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
}

// swapped is a folder that has the program for ARM where that for amd64 should be.
func swapped(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "linux-arm64"), filepath.Join(to, "linux-amd64")); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestWritingAndReadingEndWithTheirContext(t *testing.T) {
	t.Parallel()
	c := contents(t, images.Platforms()[0])
	file := write(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Open(ctx, file, func(uint64, uint64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
	if _, err := Write(ctx, file, c, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("write: %v", err)
	}
	open(t, file) // is as it was
}
