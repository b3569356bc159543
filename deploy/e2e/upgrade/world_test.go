//go:build e2e

// Package upgrade_test takes a fleet of the previous release to this one and back, part
// by part, while it works: real programs of both releases, three NATS servers, a
// Kubernetes API, an identity provider, and Podman.
package upgrade_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/agent/sampleimage"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/previous"
	"fleet.nationtech.io/eventlog/devicetest"
	"fleet.nationtech.io/eventlog/natstest"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

const (
	servers = 3
	// timeout is how long anything may take, on a machine that does much else at the same
	// time.
	timeout = 3 * time.Minute

	// tokenLifetime has each agent come in again and again, by whichever replica of the
	// callout there is then.
	tokenLifetime = 20 * time.Second

	devicesOrganization = "3000"
	peopleOrganization  = "4000"
	project             = "3012"
)

// release is the programs of one version.
type release struct {
	version string
	program func(name string) string
}

// world is what a fleet runs on, and what the test knows of it.
type world struct {
	t        *testing.T
	old, new release
	tree     previous.Tree // of the old one
	api      *localapitest.Cluster
	kube     *versioned.Clientset
	ns       string
	provider *devprovider.Provider
	podman   *podmantest.Service

	secrets string // the file that fleetctl credentials made
	conf    []accounts.Server
	files   []string // the servers' configuration
	servers *natstest.Servers
	nc      *nats.Conn // of the operator's user
	js      jetstream.JetStream
	fleet   *devicetest.Fleet // devices that are simulated
}

// newWorld starts all that is no part of the fleet itself. What the fleet is configured
// by is the previous release's: accounts, credentials, definitions.
func newWorld(t *testing.T, tree previous.Tree) *world {
	t.Helper()
	w := &world{t: t, tree: tree, podman: podmantest.Start(t, podmantest.Options{}), api: localapitest.Private(t), secrets: filepath.Join(t.TempDir(), "secrets.yaml")}
	w.old = release{tree.Version, tree.Program}
	w.new = release{"", func(name string) string { return built.Program(t, name) }}
	w.new.version = w.versionOf(w.new)
	if v := w.versionOf(w.old); v != tree.Version || v == w.new.version {
		t.Fatalf("the previous release says that it is %s, and must be %s; this one says that it is %s", v, tree.Version, w.new.version)
	}
	var err error
	w.kube, err = versioned.NewForConfig(w.api.Config)
	w.must(err)
	w.ns = w.api.Namespace(t)
	w.formerDefinitions()

	w.provider = devprovidertest.Start(t, devprovider.Options{TokenLifetime: tokenLifetime})
	for _, id := range []string{devicesOrganization, peopleOrganization} {
		w.provider.AddOrganization(devprovider.Organization{ID: id, Domain: id + ".example.org"})
	}
	w.provider.AddProject(project)
	w.loadImage()
	w.startServers()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// versionOf is what the programs of a release say of themselves.
func (w *world) versionOf(r release) string {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), r.program("fleet-operator"), "--version").CombinedOutput()
	w.must(err)
	version, _, _ := strings.Cut(string(out), "\n")
	return version
}

// formerDefinitions brings the previous release's definitions into the API server.
func (w *world) formerDefinitions() {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.tree.Dir, "crds", "manifests", "fleet.nationtech.io_*.yaml"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("the previous release has %d definitions: %v", len(files), err)
	}
	client, err := dynamic.NewForConfig(w.api.Config)
	w.must(err)
	definitions := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, file := range files {
		text, err := os.ReadFile(file)
		w.must(err)
		body, err := yaml.YAMLToJSON(text)
		w.must(err)
		force := true
		var about metav1.PartialObjectMetadata
		w.must(yaml.Unmarshal(text, &about))
		_, err = definitions.Patch(w.t.Context(), about.Name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: install.FieldManager, Force: &force})
		w.must(err)
	}
}

// definitions brings this release's definitions into the API server.
func (w *world) definitions() { w.t.Helper(); w.must(install.Install(w.t.Context(), w.api.Config)) }

func (w *world) loadImage() {
	w.t.Helper()
	program, err := os.ReadFile(w.new.program("fleet-hello"))
	w.must(err)
	image, _, err := sampleimage.Archive(program, "1")
	w.must(err)
	file := filepath.Join(w.t.TempDir(), "image.tar")
	w.must(os.WriteFile(file, image, 0o600))
	w.podman.CLI("load", "--quiet", "-i", file)
}

// fleetctl runs a command of a release as the administrator, and gives what it answered.
func (w *world) fleetctl(of release, args ...string) (out string, code int) {
	w.t.Helper()
	c := exec.CommandContext(w.t.Context(), of.program("fleetctl"), args...)
	c.Env = append(os.Environ(), "HOME="+w.t.TempDir(), "NO_COLOR=1", "FLEET_NATS_URL="+w.url(), "FLEET_NATS_CA="+w.ca(),
		"FLEET_NATS_USER="+w.secret(names.SecretAdmin, names.KeyUser), "FLEET_NATS_PASSWORD="+w.secret(names.SecretAdmin, names.KeyPassword))
	var warn strings.Builder
	c.Stderr = &warn
	b, err := c.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	if err != nil {
		w.t.Logf("fleetctl %s of %s: %v\n%s", strings.Join(args, " "), of.version, err, warn.String())
	}
	return string(b), c.ProcessState.ExitCode()
}

// poll asks until nothing is against it, and says what last was.
func poll(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s: %w", what, timeout, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (w *world) eventually(what string, check func(context.Context) error) {
	w.t.Helper()
	w.must(poll(w.t.Context(), what, check))
}
