package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"helm.sh/helm/v3/pkg/chart/loader"

	"fleet.nationtech.io/deploy/bundle"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/images"
	"fleet.nationtech.io/deploy/images/imagestest"
)

func TestMain(m *testing.M) { imagestest.Main(m) }

// person is one who types commands in a folder.
type person struct {
	t   *testing.T
	dir string
}

// run runs a command of bundle. FILE-like arguments are of the person's folder.
func (p person) run(args ...string) (out string, err error) {
	p.t.Helper()
	return p.in(p.t.Context(), args...)
}

func (p person) in(ctx context.Context, args ...string) (out string, err error) {
	p.t.Helper()
	var text bytes.Buffer
	s := cli.Streams{Out: &text, Err: &text, Now: time.Now, Name: "fleetctl", Getenv: func(string) string { return "" }}
	cmd := NewBundle(s)
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "HERE", p.dir)
	}
	cmd.SetArgs(args)
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(ctx)
	return text.String(), err
}

func (p person) must(args ...string) string {
	p.t.Helper()
	out, err := p.run(args...)
	if err != nil {
		p.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

// shared is the image of the program of the tests. It is made once, as that takes long
// with the race detector.
var shared struct {
	once  sync.Once
	image images.Image
}

func sharedImage(t *testing.T, paths []string) images.Image {
	t.Helper()
	shared.once.Do(func() {
		b, err := images.NewBuilder(images.Release{Version: "v1.2.3"})
		if err != nil {
			t.Fatal(err)
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

// newPerson has what make images made: the small program of the tests under the names of
// ours, in images that share their layers.
func newPerson(t *testing.T) person {
	t.Helper()
	p := person{t, t.TempDir()}
	programs := imagestest.Programs(t, images.Platforms())
	var paths []string
	for _, platform := range images.Platforms() {
		from := filepath.Join(programs, images.FileName(platform), imagestest.Name)
		paths = append(paths, from)
		dir := filepath.Join(p.dir, "dist", "bin", images.FileName(platform))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range bundledPrograms {
			if err := os.Link(from, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	one := sharedImage(t, paths)
	var set images.Set
	for _, name := range []string{"fleet-operator", "fleet-agent", "fleetctl"} {
		one.Name = name
		set = append(set, one)
	}
	if err := set.WriteLayout(filepath.Join(p.dir, "dist", "oci"), images.LocalRepository); err != nil {
		t.Fatal(err)
	}
	return p
}

func serve(t *testing.T) (address string) {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// A release goes outside into a file, and inside out of it: into a registry, onto nodes
// and onto devices.
func TestAReleaseIsCarriedInOneFile(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	outside, inside := serve(t), serve(t)
	p.must("create", "HERE/first.bundle", "--from", "HERE/dist")
	var nats []images.Named
	if err := json.Unmarshal([]byte(p.must("push", "HERE/first.bundle", outside+"/library", "--plain-http", "-o", "json")), &nats); err != nil || len(nats) != 3 {
		t.Fatalf("pushed %v: %v", nats, err)
	}

	_, digest, _ := strings.Cut(nats[0].Digest, "@")
	said := p.must("create", "HERE/fleet.bundle", "--from", "HERE/dist", "--platforms", "linux/arm64,linux/amd64", "--plain-http",
		"--image", outside+"/library/fleet-agent:theirs@"+digest)
	for _, want := range []string{"version    v1.2.3\n", "platforms  linux/amd64\n           linux/arm64\n", "fleetctl for linux/arm64", "chart      chart/fleet.tgz sha256:"} {
		if !strings.Contains(said, want) {
			t.Errorf("create does not say %q:\n%s", want, said)
		}
	}
	checkSums(t, p, said)
	if out := p.must("verify", "HERE/fleet.bundle"); !strings.HasPrefix(out, said) || !strings.Contains(out, "parts is whole.") {
		t.Errorf("verify says\n%s", out)
	}
	if out := p.must("push", "HERE/fleet.bundle", inside+"/fleet", "--plain-http"); !strings.Contains(out, inside+"/fleet/fleet-operator:v1.2.3\n"+inside+"/fleet/fleet-operator@sha256:") {
		t.Errorf("push says\n%s", out)
	}

	// An export leaves former files alone: a fleetctl may run from one.
	former := filepath.Join(p.dir, "former")
	replaced := filepath.Join(p.dir, "programs", "fleetctl-linux-amd64")
	if err := errors.Join(os.Mkdir(filepath.Dir(replaced), 0o755), os.WriteFile(replaced, []byte("old"), 0o600), os.Link(replaced, former)); err != nil {
		t.Fatal(err)
	}
	out := p.must("export", "HERE/fleet.bundle", "--images", "HERE/images.tar", "--platform", "linux/arm64", "--programs", "HERE/programs", "--chart", "HERE/fleet.tgz")
	if text, err := os.ReadFile(former); string(text) != "old" {
		t.Errorf("the former program is written over: %.20q (%v)", text, err)
	}
	if info, err := os.Stat(replaced); err != nil || info.Mode().Perm()&0o700 != 0o700 {
		t.Errorf("the program has the rights %v (%v)", info.Mode(), err)
	}
	if !strings.Contains(out, "localhost/fleet-operator:v1.2.3\n") {
		t.Errorf("export says\n%s", out)
	}
	tag, err := name.NewTag("localhost/fleet-operator:v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(filepath.Join(p.dir, "images.tar"), &tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	if platform, _, err := images.Inspect(filepath.Join(p.dir, "programs", "fleet-agent-linux-arm64")); err != nil || platform.String() != "linux/arm64" {
		t.Errorf("the agent is for %s (%v)", platform, err)
	}
	if c, err := loader.LoadFile(filepath.Join(p.dir, "fleet.tgz")); err != nil || c.Name() != "fleet" || c.Schema == nil {
		t.Errorf("Helm reads the chart %v (%v)", c, err)
	}
}

// checkSums holds what create printed against what tar has, as a person would.
func checkSums(t *testing.T, p person, said string) {
	t.Helper()
	var x struct {
		SHA256 string `json:"sha256"`
		bundle.Index
	}
	if err := json.Unmarshal([]byte(p.must("verify", "HERE/fleet.bundle", "-o", "json")), &x); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), "tar", "-xOf", filepath.Join(p.dir, "fleet.bundle"), "bundle.json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(text); x.SHA256 != hex.EncodeToString(sum[:]) || !strings.HasPrefix(said, "sha256     "+x.SHA256+" (of bundle.json)\n") {
		t.Errorf("create said\n%s\nverify %s, and the SHA-256 is %x", said, x.SHA256, sum)
	}
	want := []string{"             linux/amd64 " + x.Images[0].Manifests[0].Digest + "\n"}
	for _, program := range x.Programs {
		content, err := os.ReadFile(filepath.Join(p.dir, "dist", "bin", strings.ReplaceAll(program.Platform, "/", "-"), program.Name))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("%s for %s sha256:%x\n", program.Name, program.Platform, sha256.Sum256(content)))
	}
	for _, line := range want {
		if !strings.Contains(said, line) {
			t.Errorf("create does not say %q:\n%s", line, said)
		}
	}
}

func TestAnInterruptionIsSaidAsWhatItIs(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.must("create", "HERE/fleet.bundle", "--from", "HERE/dist", "--no-chart")
	for name, want := range map[string]string{"a pull": "run the same command again", "a push": "run the same command again: what the registry has is not sent again"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := person{t, p.dir}
			ctx, cancel := context.WithCancel(t.Context())
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				cancel()
				<-r.Context().Done()
			}))
			t.Cleanup(srv.Close)
			address := strings.TrimPrefix(srv.URL, "http://")
			args := []string{"create", "HERE/x", "--from", "HERE/dist", "--plain-http", "--image", address + "/nats:2@sha256:" + strings.Repeat("0", 64)}
			if name == "a push" {
				args = []string{"push", "HERE/fleet.bundle", address + "/fleet", "--plain-http"}
			}
			out, err := p.in(ctx, args...)
			var told bytes.Buffer
			code := cli.Streams{Err: &told, Name: "fleetctl"}.Report(err, "fleetctl bundle")
			if code != cli.ExitInterrupted || !strings.HasSuffix(strings.TrimSpace(told.String()), want) {
				t.Errorf("code %d and %q, want %q\n%s", code, told.String(), want, out)
			}
		})
	}
}

func TestWhatABundleCannotBeIsSaid(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.must("create", "HERE/fleet.bundle", "--from", "HERE/dist", "--no-chart")
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"a folder without images":        {[]string{"create", "HERE/x", "--from", "HERE/bin"}, "does not have the images of a release"},
		"a file that is there":           {[]string{"create", "HERE/fleet.bundle", "--from", "HERE/dist"}, "is there already"},
		"a platform that there is not":   {[]string{"create", "HERE/x", "--platforms", "linux/mips"}, `there is no platform "linux/mips"`},
		"an image by its tag alone":      {[]string{"create", "HERE/x", "--from", "HERE/dist", "--image", "docker.io/library/nats:2"}, "as a tag may be moved"},
		"a bundle that is not there":     {[]string{"verify", "HERE/none"}, "no such file"},
		"a file that is no bundle":       {[]string{"verify", "HERE/dist/oci/index.json"}, "does not begin with bundle.json"},
		"an output that there is not":    {[]string{"verify", "HERE/fleet.bundle", "-o", "xml"}, `unknown output "xml"`},
		"a registry in capital letters":  {[]string{"push", "HERE/fleet.bundle", "Registry.example.com/Fleet"}, "in small letters"},
		"a registry that does not serve": {[]string{"push", "HERE/fleet.bundle", "127.0.0.1:1/fleet"}, "connection refused"},
		"an export of nothing":           {[]string{"export", "HERE/fleet.bundle"}, "nothing to export was named"},
		"an archive of three platforms":  {[]string{"export", "HERE/fleet.bundle", "--images", "HERE/i.tar"}, "the bundle has images for linux/amd64, linux/arm/v7, linux/arm64"},
		"an archive of another platform": {[]string{"export", "HERE/fleet.bundle", "--images", "HERE/i.tar", "--platform", "linux/s390x"}, "is not for linux/s390x"},
		"a chart that is not in it":      {[]string{"export", "HERE/fleet.bundle", "--chart", "HERE/c.tgz"}, "has no Helm chart"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := person{t, p.dir}
			out, err := q.run(tt.args...)
			var failure *cli.Failure
			if err == nil || !strings.Contains(err.Error(), tt.says) || !errors.As(err, &failure) {
				t.Errorf("got %v, want a failure with %q\n%s", err, tt.says, out)
			}
		})
	}
}
