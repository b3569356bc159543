package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"fleet.nationtech.io/deploy/images"
	"fleet.nationtech.io/deploy/images/imagestest"
)

// rewrite makes another bundle of a bundle's entries.
func rewrite(t *testing.T, file string, change func(x *Index, entries []tarEntry) []tarEntry) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var entries []tarEntry
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, tarEntry{h, content})
	}
	var x Index
	if err := json.Unmarshal(entries[0].content, &x); err != nil {
		t.Fatal(err)
	}
	entries = change(&x, entries)
	if entries[0].h.Name == indexFile {
		if entries[0].content, err = json.Marshal(x); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "changed")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.h.Size = int64(len(e.content))
		if err := w.WriteHeader(e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(out, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return out
}

type tarEntry struct {
	h       *tar.Header
	content []byte
}

func TestABundleThatIsNotWholeIsRefused(t *testing.T) {
	t.Parallel()
	file := write(t, contents(t, images.Platforms()[0]))
	change := func(f func(x *Index, e []tarEntry) []tarEntry) string { return rewrite(t, file, f) }
	another := "sha256:" + strings.Repeat("0", 64)
	last := func(x *Index) *Part { return &x.Parts[len(x.Parts)-1] }
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	if err := os.WriteFile(cut, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ file, says string }{
		"nothing":        {filepath.Join(t.TempDir(), "none"), "no such file"},
		"another file":   {"bundle_test.go", "does not begin with bundle.json"},
		"half of it":     {cut, "copy it again"},
		"another schema": {change(func(x *Index, e []tarEntry) []tarEntry { x.Schema = "fleet.nationtech.io/bundle/v2"; return e }), "use the fleetctl of its release"},
		"no schema":      {change(func(x *Index, e []tarEntry) []tarEntry { x.Schema = ""; return e }), "names no schema"},
		"a flipped bit":  {change(func(_ *Index, e []tarEntry) []tarEntry { e[3].content[0] ^= 1; return e }), "is damaged"},
		"another size":   {change(func(_ *Index, e []tarEntry) []tarEntry { e[3].content = e[3].content[1:]; return e }), "and bundle.json says"},
		"an entry more":  {change(func(_ *Index, e []tarEntry) []tarEntry { return append(e, e[1]) }), "is not listed in bundle.json"},
		"an entry fewer": {change(func(_ *Index, e []tarEntry) []tarEntry { return e[:len(e)-1] }), "the file ends before the part"},
		"another order":  {change(func(_ *Index, e []tarEntry) []tarEntry { e[1], e[2] = e[2], e[1]; return e }), "stands where bundle.json has the file"},
		"a link": {change(func(_ *Index, e []tarEntry) []tarEntry {
			e[1].h.Typeflag, e[1].h.Linkname, e[1].content = tar.TypeSymlink, "/etc/passwd", nil
			return e
		}), "stands where bundle.json has the file"},
		"a header of its own": {change(func(_ *Index, e []tarEntry) []tarEntry {
			e[1].h.PAXRecords, e[1].h.Format = map[string]string{"VENDOR.hole": "1"}, tar.FormatPAX
			return e
		}), "has an extended header"},
		"a way out":       {change(func(x *Index, e []tarEntry) []tarEntry { last(x).Path = "programs/../../etc/passwd"; return e }), "leads out of the bundle"},
		"a way to a root": {change(func(x *Index, e []tarEntry) []tarEntry { last(x).Path = "/etc/passwd"; return e }), "leads out of the bundle"},
		"another folder":  {change(func(x *Index, e []tarEntry) []tarEntry { last(x).Path = "etc/passwd"; return e }), "leads out of the bundle or to no place in it"},
		"a part twice":    {change(func(x *Index, e []tarEntry) []tarEntry { *last(x) = x.Parts[0]; return e }), "is listed twice"},
		"a huge part":     {change(func(x *Index, e []tarEntry) []tarEntry { last(x).Size = 1 << 60; return e }), "a part has at most"},
		"a negative part": {change(func(x *Index, e []tarEntry) []tarEntry { last(x).Size = -1; return e }), "a part has at most"},
		"no checksum":     {change(func(x *Index, e []tarEntry) []tarEntry { last(x).SHA256 = "00"; return e }), "has no SHA-256"},
		"a huge program":  {change(func(x *Index, e []tarEntry) []tarEntry { x.Programs[0].Size = 1 << 50; return e }), "has no part, an impossible name or more than"},
		"a program's way": {change(func(x *Index, e []tarEntry) []tarEntry { x.Programs[0].Name = "../x"; return e }), "an impossible name"},
		"no chart":        {change(func(x *Index, e []tarEntry) []tarEntry { x.Chart = "chart/none.tgz"; return e }), "is no part"},
		"a program twice": {change(func(x *Index, e []tarEntry) []tarEntry { x.Programs = append(x.Programs, x.Programs[0]); return e }), "is listed twice"},

		"another digest in bundle.json": {change(func(x *Index, e []tarEntry) []tarEntry { x.Images[0].Digest = another; return e }), "bundle.json says that the digest of the image fleet-test is"},
		"another digest of a platform": {change(func(x *Index, e []tarEntry) []tarEntry {
			x.Images[0].Manifests[0].Digest = another
			return e
		}), "other digests of platforms than its index has"},
		"another name of an image":       {change(func(x *Index, e []tarEntry) []tarEntry { x.Images[0].Name = "fleet-agent"; return e }), `lists the image "fleet-agent:v1.2.3" where the image layout has "fleet-test:v1.2.3"`},
		"another tag of an image":        {change(func(x *Index, e []tarEntry) []tarEntry { x.Images[0].Tag = "v9"; return e }), `lists the image "fleet-test:v9"`},
		"an image that is not listed":    {change(func(x *Index, e []tarEntry) []tarEntry { x.Images = nil; return e }), "lists 0 images, and the image layout has 1"},
		"an image that is listed only":   {change(func(x *Index, e []tarEntry) []tarEntry { x.Images = append(x.Images, x.Images[0]); return e }), "lists 2 images, and the image layout has 1"},
		"a platform that no image is of": {change(func(x *Index, e []tarEntry) []tarEntry { x.Platforms = append(x.Platforms, "linux/s390x"); return e }), "the image fleet-test is not for it"},
		"a platform that is none":        {change(func(x *Index, e []tarEntry) []tarEntry { x.Platforms = []string{"linux"}; return e }), "which is none"},
		"a blob in place of another": {change(func(x *Index, e []tarEntry) []tarEntry {
			i := slices.IndexFunc(x.Parts, func(p Part) bool { return strings.HasPrefix(p.Path, "images/blobs/sha256/") })
			e[i+1].content = append([]byte("x"), e[i+1].content...)
			sum := sha256.Sum256(e[i+1].content)
			x.Parts[i].Size, x.Parts[i].SHA256 = int64(len(e[i+1].content)), hex.EncodeToString(sum[:])
			return e
		}), "and is called by another"},
		"no image layout": {change(func(x *Index, e []tarEntry) []tarEntry {
			i := slices.IndexFunc(x.Parts, func(p Part) bool { return p.Path == "images/oci-layout" })
			x.Parts = slices.Delete(x.Parts, i, i+1)
			return slices.Delete(e, i+1, i+2)
		}), "no OCI image layout"},
		"too many parts": {change(func(x *Index, e []tarEntry) []tarEntry { x.Parts = make([]Part, maxParts+1); return e }), "a bundle has at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := Open(t.Context(), tt.file, nil)
			if err == nil {
				_ = b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if (name == "another file" || name == "another schema") != errors.Is(err, ErrNot) && name != "no schema" {
				t.Errorf("%v: is it no bundle?", err)
			}
		})
	}
}

func TestAProgramThatUnpacksToMoreThanItSaysIsRefused(t *testing.T) {
	t.Parallel()
	file := write(t, contents(t, images.Platforms()[0]))
	b := open(t, rewrite(t, file, func(x *Index, e []tarEntry) []tarEntry { x.Programs[0].Size = 5; return e }))
	if _, err := b.Program(imagestest.Name, "linux/amd64"); err == nil || !strings.Contains(err.Error(), "is not what bundle.json says of it") {
		t.Errorf("got %v", err)
	}
	if err := b.CheckPrograms(t.Context()); err == nil || !strings.Contains(err.Error(), "is not what bundle.json says of it") {
		t.Errorf("all of them: %v", err)
	}
}

func TestThePartsAreFiles(t *testing.T) {
	t.Parallel()
	b := open(t, write(t, contents(t, images.Platforms()[0])))
	for _, p := range b.Index().Parts {
		content, err := fs.ReadFile(b.files(), p.Path)
		if err != nil || int64(len(content)) != p.Size {
			t.Errorf("%s has %d bytes, want %d (%v)", p.Path, len(content), p.Size, err)
		}
	}
	if _, err := b.files().Open("images"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Whatever stands in a bundle's file, Open ends with an error or with a bundle that can
// be read.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	set := images.Set{{Name: "fleet-test", Tag: "v1", Index: mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: empty.Image})}}
	if err := set.WriteLayout(filepath.Join(dir, imagesDir), images.LocalRepository); err != nil {
		f.Fatal(err)
	}
	w := writer{dir: dir, index: Index{Schema: Schema, Chart: chartFile}}
	if err := errors.Join(w.put(chartFile, []byte("hi")), w.sum()); err != nil {
		f.Fatal(err)
	}
	var err error
	if w.index.Images, err = describe(set); err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := w.write(f.Context(), &b, nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/2])
	f.Add([]byte("bundle.json"))
	f.Fuzz(func(t *testing.T, content []byte) {
		file := filepath.Join(t.TempDir(), "b")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Open(t.Context(), file, nil)
		if err != nil {
			return
		}
		defer b.Close()
		for _, p := range b.Index().Parts {
			if content, err := fs.ReadFile(b.files(), p.Path); err != nil || int64(len(content)) != p.Size {
				t.Errorf("%s: %d bytes, want %d (%v)", p.Path, len(content), p.Size, err)
			}
		}
	})
}
