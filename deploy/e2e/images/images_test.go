//go:build e2e

// Package images_test runs the images of the real programs on Podman, as a cluster
// would: without rights, without a file that can be written, as any user.
package images_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/images"
)

// The images of the programs that make build made, and their bills of materials.
type made struct {
	set  images.Set
	boms []images.SBOM
}

func makeImages(t *testing.T) made {
	t.Helper()
	b, err := images.NewBuilder(images.Release{Version: "v0.0.1+test", Source: "https://fleet.nationtech.io"})
	if err != nil {
		t.Fatal(err)
	}
	var m made
	for _, p := range images.Programs() {
		image, bom, err := b.Build(p, []string{built.Program(t, p.Name)})
		if err != nil {
			t.Fatal(err)
		}
		m.set, m.boms = append(m.set, image), append(m.boms, bom...)
	}
	return m
}

func TestImagesOfTheRealPrograms(t *testing.T) {
	t.Parallel()
	m := makeImages(t)
	t.Run("they run without rights as any user", func(t *testing.T) {
		t.Parallel()
		runAsAnyUser(t, m.set)
	})
	t.Run("a bill of materials has the modules of its program", func(t *testing.T) {
		t.Parallel()
		checkBills(t, m.boms)
	})
}

func runAsAnyUser(t *testing.T, set images.Set) {
	t.Helper()
	podmantest.Require(t)
	home := podmantest.NewHome(t, podmantest.Options{Internal: true})
	podman := func(args ...string) (string, error) {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "podman", args...)
		cmd.Env = append(os.Environ(), home.Env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	archive := filepath.Join(t.TempDir(), "images.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.WriteArchive(f, v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, images.LocalRepository); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := podman("load", "-i", archive); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for user, options := range map[string][]string{"the image's user": nil, "a user that OpenShift chooses": {"--user", "1000660000:0"}} {
		run := func(program string, args ...string) (string, error) {
			all := append([]string{"run", "--rm", "--network=none", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"}, options...)
			return podman(append(append(all, "localhost/"+program+":v0.0.1_test"), args...)...)
		}
		for _, program := range []string{"fleet-agent", "fleet-callout", "fleet-operator", "fleetctl"} {
			if out, err := run(program, "--version"); err != nil || !strings.Contains(out, "\ncommit ") || !strings.Contains(out, ", "+runtime.Version()+", linux/"+runtime.GOARCH) {
				t.Errorf("%s as %s: %v: %s", program, user, err, out)
			}
		}
		for program, lacks := range map[string]string{
			"fleet-operator": "no --kubeconfig, and not in a pod",
			"fleet-callout":  "--issuer is missing",
			"fleet-agent":    "/etc/fleet-agent/config.toml",
		} {
			if out, err := run(program); err == nil || !strings.Contains(out, lacks) {
				t.Errorf("%s as %s, want it to end and say %q: %v: %s", program, user, lacks, err, out)
			}
		}
		// What a CronJob runs needs no folder that can be written.
		if out, err := run("fleetctl", "get", "devices", "--url", "nats://127.0.0.1:1"); err == nil || !strings.Contains(out, "127.0.0.1:1") || strings.Contains(out, "read-only") {
			t.Errorf("fleetctl as %s: %v: %s", user, err, out)
		}
	}
}

func checkBills(t *testing.T, boms []images.SBOM) {
	t.Helper()
	for _, bom := range boms {
		var read cdx.BOM
		if err := cdx.NewBOMDecoder(bytes.NewReader(bom.JSON), cdx.BOMFileFormatJSON).Decode(&read); err != nil {
			t.Fatal(err)
		}
		if bom.Program == "fleet-hello" {
			continue // it is made of the standard library alone
		}
		var nats string
		for _, c := range *read.Components {
			if c.Name == "github.com/nats-io/nats.go" {
				nats = c.PackageURL
			}
			if c.Version == "" || strings.Contains(c.Version, "devel") || c.PackageURL == "" {
				t.Errorf("%s: %s has the version %q and the URL %q", bom.Program, c.Name, c.Version, c.PackageURL)
			}
		}
		if !strings.HasPrefix(nats, "pkg:golang/github.com/nats-io/nats.go@v1.") || len(*read.Components) < 10 {
			t.Errorf("%s: %d modules, NATS is %q", bom.Program, len(*read.Components), nats)
		}
	}
}
