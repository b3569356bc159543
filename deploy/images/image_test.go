package images

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/images/imagestest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestTwoBuildsOfTwoFoldersGiveOneDigest(t *testing.T) {
	t.Parallel()
	first, firstBOMs := sharedImage(t)
	var again []string
	for _, p := range slices.Backward(Platforms()) { // and in another order
		again = append(again, imagestest.Compile(t, p))
	}
	second, secondBOMs := build(t, again)
	if a, b := digest(t, first), digest(t, second); a != b {
		t.Errorf("the same sources gave %s and %s", a, b)
	}
	if diff := cmp.Diff(firstBOMs, secondBOMs); diff != "" {
		t.Errorf("bills of materials (-first +second):\n%s", diff)
	}
	for i := range first.Attached {
		a, _ := first.Attached[i].Digest()
		b, _ := second.Attached[i].Digest()
		if a != b || a == (v1.Hash{}) {
			t.Errorf("attached number %d: %s and %s", i, a, b)
		}
	}
}

func TestAnImageIsForAllPlatformsAndEveryUser(t *testing.T) {
	t.Parallel()
	image, _ := sharedImage(t)
	m, err := image.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Annotations["org.opencontainers.image.licenses"]; got != Licence || image.Tag != "v1.2.3_4" {
		t.Errorf("licence %q, tag %q", got, image.Tag)
	}
	var got []string
	for _, d := range m.Manifests {
		got = append(got, d.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm/v7", "linux/arm64"}, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
	roots := map[v1.Hash]bool{}
	for _, p := range Platforms() {
		one, err := image.forPlatform(p)
		if err != nil {
			t.Fatal(err)
		}
		c, err := one.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if c.Config.User != "65532:65532" || c.Architecture != p.Architecture || c.Variant != p.Variant || c.Config.Entrypoint[0] != "/usr/local/bin/fleet-test" {
			t.Errorf("%s: configuration %+v", p, c)
		}
		if l := c.Config.Labels; l["org.opencontainers.image.version"] != "v1.2.3+4" || l["org.opencontainers.image.source"] != testRelease.Source || l["org.opencontainers.image.title"] != "fleet-test" {
			t.Errorf("%s: labels %v", p, l)
		}
		layers, err := one.Layers()
		if err != nil {
			t.Fatal(err)
		}
		first, err := layers[0].Digest()
		if err != nil {
			t.Fatal(err)
		}
		roots[first] = true
		for _, l := range layers {
			checkFiles(t, l)
		}
	}
	if len(roots) != 1 {
		t.Errorf("the roots of public CAs are %d layers, want one for all", len(roots))
	}
}

// checkFiles compares the rights and times of a layer's files with what every user needs.
func checkFiles(t *testing.T, l v1.Layer) {
	t.Helper()
	content, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var last string
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0:
			t.Errorf("%s is of %d:%d and of %s", h.Name, h.Uid, h.Gid, h.ModTime)
		case h.Typeflag == tar.TypeReg && (h.Mode&0o222 != 0 || h.Mode>>6&7 != h.Mode>>3&7 || h.Mode&0o444 != 0o444):
			t.Errorf("%s has the rights %o: the group needs the owner's, and nobody may write", h.Name, h.Mode)
		case h.Typeflag == tar.TypeDir && h.Mode != 0o755:
			t.Errorf("%s has the rights %o", h.Name, h.Mode)
		case h.Name <= last:
			t.Errorf("%s comes after %s", h.Name, last)
		}
		last = h.Name
		if strings.HasSuffix(RootsFile, h.Name) && h.Typeflag == tar.TypeReg {
			text, err := io.ReadAll(r)
			if n := strings.Count(string(text), "BEGIN CERTIFICATE"); err != nil || n < 100 {
				t.Errorf("%d roots of public CAs, want more than 100 (%v)", n, err)
			}
		}
	}
}

func TestWhatWouldNotStartInAnEmptyImageIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := binaries(t)
	b, err := NewBuilder(testRelease)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		paths []string
		says  string
	}{
		"a script":                   {[]string{text}, "is not a program for Linux"},
		"a file that is not there":   {[]string{filepath.Join(dir, "none")}, "no such file"},
		"a program for Plan 9":       {[]string{with(t, dir, all[0], "GOOS=linux", "GOOS=plan9")}, "is for plan9/amd64"},
		"nothing":                    {nil, "no binary was given"},
		"two for one platform":       {[]string{all[0], all[0]}, "are both for linux/amd64"},
		"a program with a loader":    {[]string{"/bin/ls"}, "needs a dynamic loader"},
		"builds of different kinds":  {[]string{all[0], with(t, dir, all[2], "fleet.example.org/test", "fleet.example.org/tent")}, "build both again"},
		"a static program of no one": {[]string{with(t, dir, all[0], "\xff Go buildinf:", "\xff No buildinf:")}, "was not built by the go command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := b.Build(testProgram, tt.paths); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// with is a copy of a program in which other bytes stand.
func with(t *testing.T, dir, program, old, other string) string {
	t.Helper()
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.ReplaceAll(string(content), old, other)
	if changed == string(content) || len(changed) != len(content) {
		t.Fatalf("%q cannot become %q", old, other)
	}
	f, err := os.CreateTemp(dir, "program-")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(changed); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func TestPlatformsAreRead(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"":                               "linux/amd64, linux/arm/v7, linux/arm64",
		"linux/arm64,linux/amd64":        "linux/amd64, linux/arm64",
		"linux/arm, linux/arm/v7":        "linux/arm/v7",
		"linux/amd64,windows/amd64":      `there is no platform "windows/amd64"; images are made for linux/amd64, linux/arm/v7, linux/arm64`,
		"linux/amd64,linux/arm64,wasip1": `there is no platform "wasip1"; images are made for linux/amd64, linux/arm/v7, linux/arm64`,
	} {
		all, err := ParsePlatforms(list)
		got := platformList(all)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", list, got, want)
		}
	}
}

func TestATagHoldsWhatTagsMayHold(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]string{
		"v1.2.3": "v1.2.3", "v1.2.3+build.4": "v1.2.3_build.4", "80805f9-dirty": "80805f9-dirty", "-x": "_x", strings.Repeat("a", 200): strings.Repeat("a", 128),
	} {
		if got := (Release{Version: v}).Tag(); got != want {
			t.Errorf("%q: %q, want %q", v, got, want)
		}
	}
	if _, err := NewBuilder(Release{}); err == nil {
		t.Error("a release without a version was taken")
	}
}
