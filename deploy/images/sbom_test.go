package images

import (
	"bytes"
	"io"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// builtOf is what go version -m says of a binary that the go command built in a
// workspace.
const builtOf = "path\tfleet.nationtech.io/operator/cmd/fleet-operator\n" +
	"mod\tfleet.nationtech.io/operator\t(devel)\t\n" +
	"dep\tfleet.nationtech.io/eventlog\t(devel)\t\n" +
	"dep\tfleet.nationtech.io/projections\tv0.0.0\n=>\t../projections\t(devel)\t\n" +
	"dep\tgithub.com/MicahParks/jwkset\tv0.11.4\th1:a=\n" +
	"dep\tgithub.com/docker/docker\tv28.5.1+incompatible\th1:b=\n" +
	"dep\texample.org/forked\tv1.0.0\n=>\texample.org/fork\tv1.0.1\th1:c=\n"

func TestABillOfMaterialsHasEachModule(t *testing.T) {
	t.Parallel()
	info, err := debug.ParseBuildInfo(builtOf)
	if err != nil {
		t.Fatal(err)
	}
	info.GoVersion = "go1.26.8" // which is not of the lines that are parsed
	b := binary{sum: strings.Repeat("0", 64), platform: v1.Platform{OS: "linux", Architecture: "amd64"}, build: info, created: time.Unix(1, 0).UTC()}
	b.info.Commit = "80805f9"
	bom, err := newSBOM(testProgram, testRelease, b)
	if err != nil {
		t.Fatal(err)
	}
	var read cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(bom.JSON), cdx.BOMFileFormatJSON).Decode(&read); err != nil {
		t.Fatal(err)
	}
	if read.SpecVersion != cdx.SpecVersion1_6 || read.SerialNumber != "" || read.Metadata.Timestamp != "1970-01-01T00:00:01Z" {
		t.Errorf("version %v, serial number %q, time %q", read.SpecVersion, read.SerialNumber, read.Metadata.Timestamp)
	}
	if c := read.Metadata.Component; c.Name != "fleet-test" || c.Version != "v1.2.3+4" || (*c.Licenses)[0].License.ID != Licence {
		t.Errorf("it is of %+v", c)
	}
	found := map[string]cdx.Component{}
	for _, c := range *read.Components {
		if _, twice := found[c.BOMRef]; twice {
			t.Errorf("%s is there twice", c.BOMRef)
		}
		found[c.BOMRef] = c
	}
	if len(found) != len(info.Deps)+1 {
		t.Errorf("%d components, want the standard library and %d modules", len(found), len(info.Deps))
	}
	for path, want := range map[string][2]string{
		"std":                             {"1.26.8", "pkg:golang/std@1.26.8"},
		"fleet.nationtech.io/eventlog":    {"v1.2.3+4", "pkg:golang/fleet.nationtech.io/eventlog@v1.2.3%2B4"}, // of our own sources
		"fleet.nationtech.io/projections": {"v1.2.3+4", "pkg:golang/fleet.nationtech.io/projections@v1.2.3%2B4"},
		"github.com/MicahParks/jwkset":    {"v0.11.4", "pkg:golang/github.com/MicahParks/jwkset@v0.11.4"},
		"github.com/docker/docker":        {"v28.5.1+incompatible", "pkg:golang/github.com/docker/docker@v28.5.1%2Bincompatible"},
		"example.org/fork":                {"v1.0.1", "pkg:golang/example.org/fork@v1.0.1"}, // what stands in for another
	} {
		if c := found[path]; c.Version != want[0] || c.PackageURL != want[1] {
			t.Errorf("%s: %q, %q, want %q", path, c.Version, c.PackageURL, want)
		}
	}
	if c := read.Metadata.Component; c.PackageURL != "pkg:golang/fleet.nationtech.io/operator@v1.2.3%2B4#cmd/fleet-operator" {
		t.Errorf("the program is %q", c.PackageURL)
	}
}

func TestABillOfMaterialsRefersToItsImage(t *testing.T) {
	t.Parallel()
	image, boms := sharedImage(t)
	index, err := image.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range image.Attached {
		m, err := a.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject == nil || m.Subject.Digest != index.Manifests[i].Digest || m.Config.MediaType != SBOMType {
			t.Errorf("attached number %d: subject %+v, type %s", i, m.Subject, m.Config.MediaType)
		}
		layers, err := a.Layers()
		if err != nil {
			t.Fatal(err)
		}
		r, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil || !bytes.Equal(content, boms[i].JSON) {
			t.Errorf("attached number %d is not %s (%v)", i, boms[i].FileName(), err)
		}
	}
}
