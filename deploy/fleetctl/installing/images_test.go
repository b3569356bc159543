package installing

import (
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/deploy/bundle"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/images"
	"fleet.nationtech.io/deploy/images/imagestest"
	"fleet.nationtech.io/eventlog/version"
)

func TestMain(m *testing.M) { imagestest.Main(m) }

func quiet() cli.Streams {
	return cli.Streams{Out: io.Discard, Err: io.Discard, Getenv: func(string) string { return "" }, Now: time.Now, Name: "fleetctl"}
}

// release writes a bundle of a version with images of these names.
func release(t *testing.T, version string, names ...string) string {
	t.Helper()
	platforms := []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm", Variant: "v7"}}
	dir := imagestest.Programs(t, platforms)
	b, err := images.NewBuilder(images.Release{Version: version, Source: "https://fleet.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range platforms {
		paths = append(paths, filepath.Join(dir, images.FileName(p), imagestest.Name))
	}
	image, _, err := b.Build(images.Program{Name: imagestest.Name}, paths)
	if err != nil {
		t.Fatal(err)
	}
	var set images.Set
	for _, name := range names {
		image.Name = name
		set = append(set, image)
	}
	file := filepath.Join(t.TempDir(), "fleet.bundle")
	if _, err := bundle.Write(t.Context(), file, bundle.Contents{Platforms: platforms, Images: set}, nil); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheImagesOfABundleArePushedAndUsedByDigest(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	address := strings.TrimPrefix(srv.URL, "http://") + "/fleet"
	f := imageFlags{bundle: release(t, version.Version, "fleet-operator", "fleet-callout", "nats"), registry: address, plain: true}
	values, architectures, err := f.found(t.Context(), quiet(), false)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"amd64", "arm"}, architectures); d != "" {
		t.Error(d)
	}
	for key, image := range map[string]string{"operator": "fleet-operator", "callout": "fleet-callout", "nats": "nats"} {
		got, _ := values["images"].(map[string]any)[key].(string)
		if !strings.HasPrefix(got, address+"/"+image+"@sha256:") {
			t.Errorf("image %s is %q", key, got)
		}
	}

	f.registry = ""
	local, _, err := f.found(t.Context(), quiet(), false)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := local["images"].(map[string]any)["operator"].(string); !strings.HasPrefix(got, "localhost/fleet-operator:") {
		t.Errorf("without a registry the operator's image is %q", got)
	}
}

func TestImagesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		flags imageFlags
		says  string
	}{
		"a bundle of another version": {imageFlags{bundle: release(t, "v9.9.9", "fleet-operator", "fleet-callout", "nats")}, "the bundle is of version v9.9.9, and this is " + version.Version},
		"a bundle without NATS":       {imageFlags{bundle: release(t, version.Version, "fleet-operator", "fleet-callout")}, "the bundle has no image nats"},
		"a registry alone":            {imageFlags{registry: "registry.example.com/fleet"}, "--registry takes the images of a bundle"},
		"two places":                  {imageFlags{bundle: "x", repository: "registry.example.com/fleet"}, "exclude each other"},
		"no registry's name":          {imageFlags{repository: "registry.example.com/Fleet"}, "Fleet"},
		"no file":                     {imageFlags{bundle: "/nonexistent/fleet.bundle"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := tt.flags.found(t.Context(), quiet(), false); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want a part of it to be %q", err, tt.says)
			}
		})
	}
}
